"""The simulated town: the shop whose database the platform reads, and a past that can be sent at once.

Add here what makes data that real sources would bring. Production code never imports it; carrying a record to Kafka
belongs to `producers`, the live clickstream among them.
"""
