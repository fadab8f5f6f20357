"""The settings that each topic is created with, the topics and the subject of a domain, and the login at Kafka.

Add a platform topic to `topic_specs`, its name to `platform_core.domain.topic_names`; a domain's own topic follows from
domains.yaml. Talking to a broker belongs to the producers and the sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.domain import topic_names
from platform_core.errors import ConfigurationError
from platform_kafka.tls import kafka_files

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog, Domain
    from platform_core.settings import Settings

DAY_MS = 86_400_000

# A 2 MB message must reach the sink to be refused with a reason, instead of vanishing at the producer; its dead
# letter carries the same bytes and some headers.
RAW_MAX_MESSAGE_BYTES = 4 * 1_048_576
DLQ_MAX_MESSAGE_BYTES = 5 * 1_048_576

DLQ_RETENTION_DAYS = 30
LEDGER_RETENTION_DAYS = 30

# Kafka drops whole segments, so that a dead letter can outlive its 30 days by the week after which a segment is
# closed; what says that it was sent back must outlive it, or it would be sent twice.
REDRIVEN_RETENTION_DAYS = 60

SINK_GROUP = "s3-sink-consumer"
PROCESSED_EVENTS = topic_names.PROCESSED_EVENTS
SCHEMA_CHANGES = topic_names.SCHEMA_CHANGES
PIPELINE_ALERTS = topic_names.PIPELINE_ALERTS


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
    return topic_names.dead_letter_topic(domain.topic.name)


def parked_name(domain: Domain) -> str:
    """Name of the topic for dead letters that were refused too often to be sent back by themselves."""
    return topic_names.parked_topic(domain.topic.name)


def redriven_name(domain: Domain) -> str:
    """Name of the topic that says which dead letters were sent back or parked."""
    return topic_names.redriven_topic(domain.topic.name)


def subject_name(domain: Domain) -> str:
    """Registry subject of the domain's values."""
    return f"{domain.topic.name}-value"


def topic_specs(catalog: Catalog) -> list[TopicSpec]:
    """Return every topic that the platform needs, the domains' first."""
    dead = _kept(DLQ_RETENTION_DAYS) | {"max.message.bytes": str(DLQ_MAX_MESSAGE_BYTES)}
    specs = []
    for domain in catalog:
        raw = _kept(domain.topic.retention_days) | {"max.message.bytes": str(RAW_MAX_MESSAGE_BYTES)}
        specs += [
            TopicSpec(domain.topic.name, domain.topic.partitions, raw),
            TopicSpec(dlq_name(domain), 1, dead),
            TopicSpec(parked_name(domain), 1, dead),
            TopicSpec(redriven_name(domain), 1, _kept(REDRIVEN_RETENTION_DAYS)),
        ]
    return [
        *specs,
        TopicSpec(PROCESSED_EVENTS, 6, _kept(LEDGER_RETENTION_DAYS)),
        TopicSpec(SCHEMA_CHANGES, 3, {"cleanup.policy": "compact"}),
        TopicSpec(PIPELINE_ALERTS, 3, _kept(1)),
    ]


def _kept(days: int) -> dict[str, str]:
    return {"retention.ms": str(days * DAY_MS)}


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
        username, password = _login(settings, admin=admin)
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": username,
            "sasl.password": password,
        }
    if settings.kafka_security_protocol.endswith("SSL"):
        config |= _tls(settings)
    return config


def _tls(settings: Settings) -> dict[str, str]:
    files = {
        "ssl.ca.location": settings.kafka_ssl_ca_file,
        "ssl.certificate.location": settings.kafka_ssl_certificate_file,
        "ssl.key.location": settings.kafka_ssl_key_file,
    }
    config = {name: str(path) for name, path in files.items() if path is not None}
    if settings.kafka_ssl_key_password is not None:
        config["ssl.key.password"] = settings.kafka_ssl_key_password.get_secret_value()
    return config


def refuse_unusable_login(settings: Settings, *, admin: bool = False) -> None:
    """Refuse to begin without a login; librdkafka would not even make a client, and would not say which variable.

    Only for who cannot do without Kafka: a tick of discovery goes on without it.

    Raises:
        ConfigurationError: the protocol wants a user and a password, and one is not set; or a file of TLS is unusable.
    """
    if settings.kafka_security_protocol.endswith("SSL"):
        kafka_files(settings).context()
    if settings.kafka_security_protocol.startswith("SASL") and not all(_login(settings, admin=admin)):
        prefix = "KAFKA_ADMIN" if admin else "KAFKA"
        raise ConfigurationError(
            f"`{prefix}_USERNAME` or `{prefix}_PASSWORD` is not set, and `KAFKA_SECURITY_PROTOCOL` is"
            f" {settings.kafka_security_protocol}. Set both, or name the file that has them: `pdp --env-file PATH`."
        )


def _login(settings: Settings, *, admin: bool) -> tuple[str, str]:
    if admin:
        return settings.kafka_admin_username, settings.kafka_admin_password.get_secret_value()
    return settings.kafka_username, settings.kafka_password.get_secret_value()
