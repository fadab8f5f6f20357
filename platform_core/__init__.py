"""The floor of the platform: what a domain, a path, a topic, a partition and an error are.

Add here only what at least two of the packages above need. Nothing in here imports Dagster, Spark or a Kafka
client, so that a producer's image stays small and a unit test starts in milliseconds.
"""
