"""Topic, dead-letter topic and subject names, and the settings that each topic is created with.

Add a platform topic here; a domain's own topic follows from domains.yaml. Talking to a broker belongs to the
producers and the sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog, Domain
    from platform_core.settings import Settings

DAY_MS = 86_400_000

# A 2 MB message must reach the sink to be refused with a reason, instead of vanishing at the producer; its dead
# letter carries the same bytes and some headers.
RAW_MAX_MESSAGE_BYTES = 4 * 1_048_576
DLQ_MAX_MESSAGE_BYTES = 5 * 1_048_576

DLQ_RETENTION_DAYS = 30

# Kafka drops whole segments, so that a letter can outlive its 30 days by the week after which a segment is closed;
# what says that it was sent back must outlive the letter, or it would be sent twice.
REDRIVEN_RETENTION_DAYS = 60

SINK_GROUP = "s3-sink-consumer"
PROCESSED_EVENTS = "processed-events"
SCHEMA_CHANGES = "schema-changes"
PIPELINE_ALERTS = "pipeline-alerts"


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it must exist.

    Attributes:
        name: The topic.
        partitions: Number of partitions.
        config: Topic configuration, as Kafka's strings.
    """

    name: str
    partitions: int
    config: dict[str, str]


def dlq_name(domain: Domain) -> str:
    """Name of the domain's dead-letter topic."""
    return f"dlq-{domain.topic.name}"


def parked_name(domain: Domain) -> str:
    """Name of the topic for letters that were refused too often to be sent back by themselves."""
    return f"{dlq_name(domain)}-parked"


def redriven_name(domain: Domain) -> str:
    """Name of the topic that says which letters were sent back or parked."""
    return f"{dlq_name(domain)}-redriven"


def subject_name(domain: Domain) -> str:
    """Registry subject of the domain's values."""
    return f"{domain.topic.name}-value"


def topic_specs(catalog: Catalog) -> list[TopicSpec]:
    """Return every topic that the platform needs, the domains' first."""
    specs = []
    for domain in catalog:
        retention = str(domain.topic.retention_days * DAY_MS)
        specs.append(
            TopicSpec(
                domain.topic.name,
                domain.topic.partitions,
                {"retention.ms": retention, "max.message.bytes": str(RAW_MAX_MESSAGE_BYTES)},
            )
        )
        specs.append(
            TopicSpec(
                dlq_name(domain),
                1,
                {"retention.ms": str(DLQ_RETENTION_DAYS * DAY_MS), "max.message.bytes": str(DLQ_MAX_MESSAGE_BYTES)},
            )
        )
        specs.append(
            TopicSpec(
                parked_name(domain),
                1,
                {"retention.ms": str(DLQ_RETENTION_DAYS * DAY_MS), "max.message.bytes": str(DLQ_MAX_MESSAGE_BYTES)},
            )
        )
        specs.append(TopicSpec(redriven_name(domain), 1, {"retention.ms": str(REDRIVEN_RETENTION_DAYS * DAY_MS)}))
    specs.append(TopicSpec(PROCESSED_EVENTS, 6, {"retention.ms": str(30 * DAY_MS)}))
    specs.append(TopicSpec(SCHEMA_CHANGES, 3, {"cleanup.policy": "compact"}))
    specs.append(TopicSpec(PIPELINE_ALERTS, 3, {"retention.ms": str(DAY_MS)}))
    return specs


def kafka_client_config(settings: Settings, *, admin: bool = False) -> dict[str, str | int | float | bool]:
    """Return the librdkafka connection settings of this process.

    Args:
        admin: Whether the user that may create topics is meant.
    """
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        secret = settings.kafka_admin_password if admin else settings.kafka_password
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_admin_username if admin else settings.kafka_username,
            "sasl.password": secret.get_secret_value(),
        }
    return config
