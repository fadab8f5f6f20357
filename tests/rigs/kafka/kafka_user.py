"""One user of Kafka who tries what it may: each answer comes from the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.embedded.services.kafka import client_settings
from platform_kafka.clients import through_elections

_REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)
_SECONDS = 60


class KafkaUser:
    """A user's clients.

    Args:
        servers: Bootstrap servers.
        user: Its name.
        password: Its password.
    """

    def __init__(self, servers: str, user: str, password: str) -> None:
        self._settings: dict[str, Any] = client_settings(servers, user, password)

    def writable(self, topics: Collection[str]) -> set[str]:
        """Return the topics that take a record of this user."""
        taken: dict[str, bool] = {}
        producer = Producer(self._settings)

        def reported(error: KafkaError | None, message: Message) -> None:
            taken[str(message.topic())] = _allowed(error)

        for topic in topics:
            producer.produce(topic, b"1", b"key", on_delivery=reported)
        assert producer.flush(_SECONDS) == 0
        return {topic for topic, allowed in taken.items() if allowed}

    def readable(self, topics: Collection[str]) -> set[str]:
        """Return the topics, each with a record in it, that give this user one as a member of the sink's group."""
        given: dict[str, bool] = {}
        consumer = Consumer({**self._settings, "group.id": "s3-sink-consumer", "enable.auto.commit": False})
        try:
            visible = consumer.list_topics(timeout=_SECONDS).topics  # what it may not describe it cannot read
            consumer.assign([TopicPartition(t, p, 0) for t in topics if t in visible for p in visible[t].partitions])
            deadline = time.monotonic() + _SECONDS
            while given.keys() < set(topics) & visible.keys():
                assert time.monotonic() < deadline, f"{self._settings['sasl.username']}: only {given}"
                message = consumer.poll(1)
                if message is not None and (message.error() is None or message.error().code() in _REFUSED):
                    given[str(message.topic())] = _allowed(message.error())
        finally:
            consumer.close()
        return {topic for topic, allowed in given.items() if allowed}

    def moves(self, group: str, topic: str) -> bool:
        """Tell whether this user may commit for a group."""
        admin = AdminClient(self._settings)  # one that nothing refers to ends its requests
        offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])

        def commit() -> None:
            (asked,) = admin.alter_consumer_group_offsets([offsets], request_timeout=_SECONDS).values()
            (committed,) = asked.result().topic_partitions
            if committed.error is not None:
                raise KafkaException(committed.error)

        return _tried(lambda: through_elections(commit, _SECONDS))

    def creates(self, topic: str) -> bool:
        """Tell whether this user may create a topic."""
        admin = AdminClient(self._settings)
        return _tried(lambda: admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(_SECONDS))


def _tried(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except KafkaException as error:
        return _allowed(error.args[0])
    return True


def _allowed(error: KafkaError | None) -> bool:
    if error is not None and error.code() not in _REFUSED:
        raise KafkaException(error)
    return error is None
