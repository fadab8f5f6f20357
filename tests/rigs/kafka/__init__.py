"""Kafka as tests need it: in memory, and what a topic holds."""
