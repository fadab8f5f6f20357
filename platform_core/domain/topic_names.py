"""The names of Kafka's topics: the platform's own, and those that follow from a domain's topic.

A domain must not choose one of them, so the catalog knows them before anything knows Kafka. How a topic is created
belongs to `platform_kafka.topics`.
"""

from __future__ import annotations

PROCESSED_EVENTS = "processed-events"
SCHEMA_CHANGES = "schema-changes"
PIPELINE_ALERTS = "pipeline-alerts"
PLATFORM_TOPICS = (PROCESSED_EVENTS, SCHEMA_CHANGES, PIPELINE_ALERTS)

DLQ_PREFIX = "dlq-"


def dead_letter_topic(topic: str) -> str:
    """Return the topic of the dead letters of a domain's topic."""
    return f"{DLQ_PREFIX}{topic}"


def parked_topic(topic: str) -> str:
    """Return the topic of dead letters that were refused too often to be sent back by themselves."""
    return f"{dead_letter_topic(topic)}-parked"


def redriven_topic(topic: str) -> str:
    """Return the topic that says which dead letters were sent back or parked."""
    return f"{dead_letter_topic(topic)}-redriven"


def topics_beside(topic: str) -> tuple[str, str, str]:
    """Return every topic that a domain has beside its own."""
    return dead_letter_topic(topic), parked_topic(topic), redriven_topic(topic)
