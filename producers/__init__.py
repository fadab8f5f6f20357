"""Sources to Kafka: the clickstream, the change capture of orders, the snapshots of restaurants and users.

Add a module here for a new source, and a package for what a source needs to exist. What happens to a record after
Kafka acknowledged it belongs to the sink; docs/architecture.md draws the whole way.
"""
