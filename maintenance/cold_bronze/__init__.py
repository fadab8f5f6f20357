"""A cold date of Bronze in few files: the same rows, offsets and erased offsets, and no correction because of it.

`grouping` says which files become one, `merging` makes that one and proves it, `dates` has the order of things. Which
files count meanwhile is decided by `platform_core.lake.bronze_compaction`, for every reader alike.
"""
