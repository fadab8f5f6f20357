"""Kafka to Bronze: every record of a raw topic ends in a Parquet file or, with its reason, in a DLQ.

What a record means belongs to the domain's contract, where files lie to `platform_core.lake.lake`, and cleaning or
deduplication to Spark. docs/architecture.md describes the promise: at least once, and nothing lost.
"""
