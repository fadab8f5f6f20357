"""`pdp`, the operator's command line: looks at partitions and streams, and changes them.

It parses, shows and asks; what may happen to a partition is decided in `pdp.actions.partition_resets`. No module of it
loads Dagster or Spark, not even those that ask the warehouse; what asks Kafka loads its client when it runs.
"""
