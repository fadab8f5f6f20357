"""`pdp`, the operator's command line: looks at partitions and streams, and changes them.

It parses, shows and asks; what may happen to a partition is decided in `pdp.actions.partitions`. It needs neither
Dagster nor Spark; what asks Kafka loads its client when it runs, the rest needs only the lake. Reference of the exit
codes: https://tldp.org/LDP/abs/html/exitcodes.html.
"""
