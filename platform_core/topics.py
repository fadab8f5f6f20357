"""Topic, dead-letter topic and subject names, and the settings that each topic is created with.

Add a platform topic here; a domain's own topic follows from domains.yaml. Talking to a broker belongs to the
producers and the sink.
"""

from __future__ import annotations

from dataclasses import dataclass

from platform_core.catalog import Catalog, Domain
from platform_core.settings import Settings

DAY_MS = 86_400_000

# A 2 MB message must reach the sink to be refused with a reason, instead of vanishing at the producer; its dead
# letter carries the same bytes and some headers.
RAW_MAX_MESSAGE_BYTES = 4 * 1_048_576
DLQ_MAX_MESSAGE_BYTES = 5 * 1_048_576

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
                {"retention.ms": str(30 * DAY_MS), "max.message.bytes": str(DLQ_MAX_MESSAGE_BYTES)},
            )
        )
    specs.append(TopicSpec(PROCESSED_EVENTS, 6, {"retention.ms": str(30 * DAY_MS)}))
    specs.append(TopicSpec(SCHEMA_CHANGES, 3, {"cleanup.policy": "compact"}))
    specs.append(TopicSpec(PIPELINE_ALERTS, 3, {"retention.ms": str(DAY_MS)}))
    return specs


def kafka_client_config(settings: Settings, *, admin: bool = False) -> dict[str, str | int | float | bool]:
    """Return the librdkafka connection settings of this process.

    Args:
        settings: The process's settings.
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
