"""Clients of Kafka, connected, with an error that names the cause when they are not.

Add a client setting here when every producer needs it. Topic names and credentials come from `platform_kafka.topics`,
reading a topic from `platform_kafka.topic_reader`; the sink's consumer and producer are its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka import records
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.tls import kafka_fault
from platform_kafka.topics import DLQ_MAX_MESSAGE_BYTES, kafka_client_config, refuse_unusable_login

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)
librdkafka = logging.getLogger("librdkafka")
librdkafka.addHandler(logging.NullHandler())  # the platform's own message says it better than a client's log line

CONNECT_SECONDS = 10.0

# What a broker answers while a leader or a coordinator is elected, as for some 100 ms after a topic is created. The
# client finds the new one itself, but fails the question that met the old one.
_ELECTING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)


class ClientErrors:
    """Collects librdkafka's errors: wrong credentials reach the caller only as a timeout, and their cause here.

    Args:
        level: At which level each is logged.
    """

    def __init__(self, level: int = logging.DEBUG) -> None:
        self._level = level
        self.authentication: KafkaError | None = None
        self.fatal: KafkaError | None = None
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Keep the error; librdkafka calls this from `poll` and `flush`."""
        if error.code() == KafkaError._AUTHENTICATION:
            self.authentication = error
        if error.fatal():
            self.fatal = error
        self.last = error
        log.log(self._level, "kafka_client_error code=%s text=%s", error.name(), error.str())


def connect(
    client: Consumer | Producer | AdminClient,
    errors: ClientErrors,
    settings: Settings,
    *,
    admin: bool = False,
    seconds: float = CONNECT_SECONDS,
) -> Any:
    """Wait until a client has reached the cluster and return the cluster's metadata.

    Only for a start: at run time a broker that stops in the middle of a handshake also reports failed authentication.

    Args:
        errors: Its `error_cb`.
        admin: Whether it asks as the user that may create topics.
        seconds: How long to wait.

    Raises:
        ConfigurationError: the cluster refuses the credentials, or one side the other's certificate.
        TransientError: the cluster does not answer in time.
    """
    servers, deadline = settings.kafka_bootstrap_servers, time.monotonic() + seconds
    user = settings.kafka_admin_username if admin else settings.kafka_username
    while True:
        try:
            metadata = client.list_topics(timeout=1.0)
        except KafkaException as error:
            # Wrong credentials look like a timeout here; only the error callback, run by poll, knows better.
            client.poll(0)
            if errors.authentication is not None:
                prefix = "KAFKA_ADMIN" if admin else "KAFKA"
                raise ConfigurationError(
                    f"Kafka at `{servers}` refuses the credentials of user `{user}`. Set `{prefix}_USERNAME`,"
                    f" `{prefix}_PASSWORD`, `KAFKA_SASL_MECHANISM` and `KAFKA_SECURITY_PROTOCOL` as the broker knows"
                    " them.",
                ) from None
            if fault := kafka_fault(settings):  # a certificate of ours that is refused looks like a broker that stops
                raise ConfigurationError(fault) from None
            if time.monotonic() >= deadline:
                last = errors.last or error.args[0]
                raise TransientError(
                    f"Kafka at `{servers}` does not answer: {last.str()}. Check `KAFKA_BOOTSTRAP_SERVERS` and that the"
                    " broker runs.",
                ) from None
            log.info("kafka_unreachable bootstrap=%s", servers)
        else:
            errors.authentication = None
            return metadata


def through_elections(ask: Callable[[], Answer], seconds: float) -> Answer:
    """Return the answer of `ask`, which is asked again for as long as Kafka says that it elects a leader.

    Raises:
        KafkaException: another error, or the election took longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _ELECTING or time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def unanswered(settings: Settings, what: str, error: KafkaException) -> KafkaUnreachableError:
    """Return the error for a question that got no answer; a certificate may have expired meanwhile."""
    next_step = kafka_fault(settings) or "Try again."
    return KafkaUnreachableError(
        f"Kafka at `{settings.kafka_bootstrap_servers}` gave no answer on {what}: {error.args[0].str()}. {next_step}"
    )


def committed_offsets(
    admin: AdminClient, group: str, partitions: Collection[records.TopicPartition], seconds: float
) -> dict[records.TopicPartition, int]:
    """Return a group's committed offsets; a partition without one is left out.

    Raises:
        KafkaException: the coordinator did not answer.
    """
    if not partitions:
        return {}
    question = ConsumerGroupTopicPartitions(group, [TopicPartition(*tp) for tp in partitions])

    def ask() -> Any:
        (asked,) = admin.list_consumer_group_offsets([question], request_timeout=seconds).values()
        committed = asked.result().topic_partitions
        for tp in committed:
            if tp.error is not None:  # its offset reads as "none was ever committed"
                raise KafkaException(tp.error)
        return committed

    return {(tp.topic, tp.partition): tp.offset for tp in through_elections(ask, seconds) if tp.offset >= 0}


def connect_producer(
    settings: Settings, *, on_failed_delivery: Any, bulk: bool = False, admin: bool = False
) -> Producer:
    """Return an idempotent producer that has reached the cluster.

    Args:
        on_failed_delivery: Called with (error, message) for each record that was not delivered.
        bulk: Whether throughput matters more than latency.
        admin: Whether it sends as the user that may create topics.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: the cluster does not answer.
    """
    refuse_unusable_login(settings, admin=admin)
    errors = ClientErrors(logging.WARNING)
    producer = Producer(
        {
            **kafka_client_config(settings, admin=admin),
            **DELIVERY_CONFIG,
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
    connect(producer, errors, settings, admin=admin)
    return producer


def connect_admin(settings: Settings, *, wait_seconds: float = 0.0) -> AdminClient:
    """Return an admin client that has reached the cluster.

    Args:
        wait_seconds: How long to wait for a cluster that is still starting.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: the cluster does not answer in time.
    """
    refuse_unusable_login(settings, admin=True)
    errors = ClientErrors(logging.WARNING)
    config: dict[str, Any] = {**kafka_client_config(settings, admin=True), "error_cb": errors, "log_level": 3}
    admin = AdminClient(config)
    connect(admin, errors, settings, admin=True, seconds=max(wait_seconds, CONNECT_SECONDS))
    return admin
