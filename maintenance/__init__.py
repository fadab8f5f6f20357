"""What keeps tables small over the years: compaction, checkpoints, and the end of files that nobody needs.

Here belongs what can be done at any time without changing a row. What writes rows is `spark_jobs` and the modules of
the platform's own tables; how a topic ends its records is Kafka's.
"""
