"""The shop: the Postgres database that the platform reads, and the people who make it live.

Add here what changes or defines the source. Reading it for Kafka belongs to the modules one level up; how its past
came about belongs to `producers.history`.
"""
