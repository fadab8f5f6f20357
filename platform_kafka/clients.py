"""Clients of Kafka and of the schema registry, connected, with an error that names the cause when they are not.

Add a client setting here when every producer needs it. Topic names and credentials come from `platform_kafka.topics`;
what is sent belongs to `producers.delivery`.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.topics import DLQ_MAX_MESSAGE_BYTES, kafka_client_config

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
REGISTRY_ANSWER_SECONDS = 10


class Errors:
    """Collects librdkafka's errors: wrong credentials reach the caller only as a timeout, and their cause here."""

    def __init__(self) -> None:
        self.authentication: KafkaError | None = None
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Keep the error; librdkafka calls this from `poll` and `flush`."""
        if error.code() == KafkaError._AUTHENTICATION:
            self.authentication = error
        self.last = error
        log.warning("kafka_error code=%s text=%s", error.name(), error.str())


def connect_producer(settings: Settings, *, on_failed_delivery: Any, bulk: bool = False) -> Producer:
    """Return an idempotent producer that has reached the cluster.

    Args:
        settings: The process's settings.
        on_failed_delivery: Called with (error, message) for each record that was not delivered.
        bulk: Whether throughput matters more than latency.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: the cluster does not answer.
    """
    errors = Errors()
    producer = Producer(
        {
            **kafka_client_config(settings),
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50 if bulk else 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 262_144,
            "message.max.bytes": DLQ_MAX_MESSAGE_BYTES,
            "delivery.report.only.error": True,
            "on_delivery": on_failed_delivery,
            "error_cb": errors,
            "log_level": 3,
        }
    )
    _reach(producer, errors, settings, settings.kafka_username, "KAFKA_PASSWORD")
    return producer


def connect_admin(settings: Settings, *, wait_seconds: float = 0.0) -> AdminClient:
    """Return an admin client that has reached the cluster.

    Args:
        settings: The process's settings.
        wait_seconds: How long to wait for a cluster that is still starting.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: the cluster does not answer in time.
    """
    errors = Errors()
    config: dict[str, Any] = {**kafka_client_config(settings, admin=True), "error_cb": errors, "log_level": 3}
    admin = AdminClient(config)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            _reach(admin, errors, settings, settings.kafka_admin_username, "KAFKA_ADMIN_PASSWORD")
            return admin
        except TransientError:
            if time.monotonic() >= deadline:
                raise


def registry_client(settings: Settings, *, retries: int = 2) -> SchemaRegistryClient:
    """Return a registry client that has not asked anything yet."""
    return SchemaRegistryClient(
        {"url": settings.schema_registry_url, "max.retries": retries, "timeout": REGISTRY_ANSWER_SECONDS}
    )


def connect_registry(settings: Settings, *, wait_seconds: float = 0.0) -> SchemaRegistryClient:
    """Return a registry client that has got an answer.

    Raises:
        TransientError: the registry does not answer in time.
    """
    client = registry_client(settings)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            client.get_subjects()
            return client
        except SchemaRegistryError as error:
            if error.http_status_code in (401, 403, 404):
                raise ConfigurationError(
                    f"The schema registry at `{settings.schema_registry_url}` answered {error.http_status_code}."
                    " Set `SCHEMA_REGISTRY_URL` to the base of Confluent's REST API.",
                    url=settings.schema_registry_url,
                ) from None
            cause: Exception = error
        except Exception as error:  # the client lets its HTTP library's own errors through
            cause = error
        if time.monotonic() >= deadline:
            raise TransientError(
                f"The schema registry at `{settings.schema_registry_url}` does not answer"
                f" ({type(cause).__name__}). Check `SCHEMA_REGISTRY_URL` and that it runs.",
                url=settings.schema_registry_url,
            ) from cause
        time.sleep(0.5)


def _reach(client: Producer | AdminClient, errors: Errors, settings: Settings, user: str, variable: str) -> None:
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            client.list_topics(timeout=1.0)
            return
        except KafkaException as error:
            client.poll(0)
            if errors.authentication is not None:
                raise ConfigurationError(
                    f"Kafka at `{settings.kafka_bootstrap_servers}` refuses the credentials of user `{user}`."
                    f" Set `{variable}` as the broker knows it.",
                    user=user,
                ) from None
            if time.monotonic() >= deadline:
                last = errors.last or error.args[0]
                raise TransientError(
                    f"Kafka at `{settings.kafka_bootstrap_servers}` does not answer: {last.str()}."
                    " Check `KAFKA_BOOTSTRAP_SERVERS` and that the broker runs.",
                    servers=settings.kafka_bootstrap_servers,
                ) from None
