"""The consuming side of Kafka: the clients, membership of the group, how far was read and may be committed.

Add here what the group or a topic decides. What the records say is in `sink.records`.
"""
