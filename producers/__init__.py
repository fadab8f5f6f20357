"""Sources to Kafka: each domain's source, read as the `source` block of domains.yaml says.

Add a module here for a new kind of source; a source of a kind that exists is some lines of YAML. What happens to a
record after Kafka acknowledged it belongs to the sink; docs/architecture.md draws the whole way.
"""
