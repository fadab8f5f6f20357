"""Programs that measure; a claim about speed in the docs names the one that printed it. `make bench` runs them.

A case is a package or a module with its contestants; how contestants are run, measured and compared is `frame`'s,
`usage`'s and `summary`'s business and the same for all. Nothing asserts a time: machines differ.
"""
