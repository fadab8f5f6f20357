"""The Kafka floor: clients, records, reading a topic, the registry, topics and their provisioning.

Add here what more than one process needs of Kafka. The consumer group of Bronze belongs to `sink`, what a record
says to its domain's contract.
"""
