"""The sink's Kafka clients: consumer, producer, and the check that the topics exist.

librdkafka's settings and error codes stay in this module; the loop sees `sink.consuming.broker`'s protocols and the
platform's errors. Names of topics come from `platform_kafka.topics`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import cast

import confluent_kafka as ck

from platform_core.errors import PermanentError, TransientError
from platform_core.settings import Settings
from platform_kafka.clients import ClientErrors, connect, librdkafka, through_elections, unanswered
from platform_kafka.publishing import PRODUCER_CONFIG, REFUSED_FOR_GOOD, delivery_error
from platform_kafka.records import Headers, Message, TopicPartition
from platform_kafka.topics import SINK_GROUP, kafka_client_config, refuse_unusable_login
from sink.consuming.broker import Batch, Listener, OnDelivery

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
START_SECONDS = 60.0

# After a kill -9 the group waits this long for the dead member before it shares out again.
SESSION_TIMEOUT_MS = 10_000

_NO_TOPIC = frozenset({ck.KafkaError.UNKNOWN_TOPIC_OR_PART, ck.KafkaError._UNKNOWN_TOPIC})
_TOPIC_UNUSABLE = _NO_TOPIC | {ck.KafkaError.TOPIC_AUTHORIZATION_FAILED}


class KafkaBroker:
    """The consumer in group `s3-sink-consumer`."""

    def __init__(self, settings: Settings) -> None:
        refuse_unusable_login(settings)
        self._settings = settings
        self._errors = ClientErrors()
        self._paused = False
        self._paused_topics: set[str] = set()
        self._consumer = ck.Consumer(
            {
                **kafka_client_config(settings),
                "client.id": "s3-sink",
                "group.id": SINK_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                # Eager: a buffer spans all partitions of its topic, so every rebalance flushes everything
                # anyway.
                "partition.assignment.strategy": "range",
                # The end of a partition is known even when its last offsets are transaction markers.
                "enable.partition.eof": True,
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 3,
                "max.poll.interval.ms": 300_000,
                "queued.max.messages.kbytes": 32_768,
                # A topic that is created while the sink runs is seen within this.
                "topic.metadata.refresh.interval.ms": 60_000,
                "error_cb": self._errors,
            },
            logger=librdkafka,
        )

    def missing(self, raw: Collection[str], others: Collection[str]) -> dict[str, str]:
        """Check that the broker answers, and return the topics that it does not have, with what to do.

        Args:
            raw: The topics to consume, of which it must have one.
            others: What is written to.

        Raises:
            PermanentError: the credentials are wrong, or there is nothing to consume.
            TransientError: no broker answered.
        """
        metadata = connect(self._consumer, self._errors, self._settings, seconds=START_SECONDS)
        known = {name for name, topic in metadata.topics.items() if topic.error is None}
        missing = [name for name in (*raw, *others) if name not in known]
        if set(raw) <= set(missing):
            raise PermanentError(self._has_no(", ".join(f"`{name}`" for name in missing)))
        return {name: self._has_no(f"`{name}`") for name in missing}

    def _has_no(self, topics: str) -> str:
        return (
            f"Kafka at `{self._settings.kafka_bootstrap_servers}` has no topic {topics}, or user"
            f" `{self._settings.kafka_username}` may not see it. Create what is missing with"
            " `python -m producers provision`."
        )

    def subscribe(self, topics: Collection[str], listener: Listener) -> None:
        """Join the group, see `Broker.subscribe`."""

        def assigned(consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            consumer.assign(partitions)
            consumer.pause([each for each in partitions if self._paused or each.topic in self._paused_topics])
            listener.assigned(_plain(partitions))

        def revoked(consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            listener.revoked(_plain(partitions))
            consumer.unassign()

        def lost(consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            listener.lost(_plain(partitions))
            consumer.unassign()

        self._consumer.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def consume(self, max_messages: int, timeout_seconds: float) -> Batch:
        """Return what has arrived, see `Broker.consume`."""
        polled = self._consumer.consume(max_messages, timeout_seconds)
        if self._errors.fatal is not None:
            raise TransientError(f"The Kafka consumer cannot go on: {self._errors.fatal.str()}. Start the sink again.")
        messages: list[ck.Message] = []
        ends: dict[TopicPartition, int] = {}
        unusable: dict[str, str] = {}
        for message in polled:
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                ends[message.topic() or "", message.partition() or 0] = message.offset() or 0
            elif error.code() in _TOPIC_UNUSABLE:
                unusable[message.topic() or ""] = (
                    f"{self._has_no(f'`{message.topic()}`')} The sink goes on with the others, and reads it as soon as"
                    " it can."
                )
            elif error.code() in REFUSED_FOR_GOOD:
                raise PermanentError(
                    f"Kafka refuses to deliver topic `{message.topic()}` to user"
                    f" `{self._settings.kafka_username}`: {error.str()}. Create the topic, or allow the user"
                    f" to read it and group `{SINK_GROUP}`.",
                )
            else:
                log.warning("consume_failed topic=%s error=%s", message.topic(), error.str())
        return Batch(cast("list[Message]", messages), ends, unusable)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Commit, see `Broker.commit`."""
        new = [ck.TopicPartition(*tp, offset) for tp, offset in offsets.items()]
        try:
            result = self._consumer.commit(offsets=new, asynchronous=False)
        except ck.KafkaException as error:
            if error.args[0].code() == ck.KafkaError._NO_OFFSET:
                return ()
            if error.args[0].code() in _NO_TOPIC:  # of all of them
                return offsets.keys()
            raise unanswered(self._settings, "an offset commit", error) from error
        gone = []
        for each in result or ():
            if each.error is not None and each.error.code() in _NO_TOPIC:
                gone.append((each.topic, each.partition))
            elif each.error is not None:
                what = f"the commit of `{each.topic}`-{each.partition}"
                raise unanswered(self._settings, what, ck.KafkaException(each.error))
        if gone:
            log.warning("not_committed_of_no_topic %s", gone)
        return gone

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return committed offsets, see `Broker.committed`."""
        if not partitions:
            return {}
        try:
            questions = [ck.TopicPartition(*tp) for tp in partitions]
            committed = through_elections(
                lambda: self._consumer.committed(questions, timeout=ANSWER_SECONDS), ANSWER_SECONDS
            )
        except ck.KafkaException as error:
            raise unanswered(self._settings, "committed offsets", error) from error
        return {(each.topic, each.partition): each.offset for each in committed if each.offset >= 0}

    def lag(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the records behind the positions, from the client's cache."""
        lag = {}
        for (topic, partition), position in positions.items():
            watermarks = self._consumer.get_watermark_offsets(ck.TopicPartition(topic, partition), cached=True)
            if watermarks is not None:
                lag[topic, partition] = max(0, watermarks[1] - position)
        return lag

    def pause(self) -> None:
        """Fetch nothing more, see `Broker.pause`."""
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """End a pause."""
        self._paused = False
        assigned = self._consumer.assignment()
        self._consumer.resume([each for each in assigned if each.topic not in self._paused_topics])

    def pause_topic(self, topic: str) -> None:
        """Fetch nothing more of one topic, see `Broker.pause_topic`."""
        self._paused_topics.add(topic)
        self._consumer.pause([each for each in self._consumer.assignment() if each.topic == topic])

    def resume_topic(self, topic: str) -> None:
        """End the pause of one topic, see `Broker.resume_topic`."""
        self._paused_topics.discard(topic)
        if not self._paused:
            self._consumer.resume([each for each in self._consumer.assignment() if each.topic == topic])

    def close(self) -> None:
        """Leave the group; the listener is told of what is given up."""
        self._consumer.close()


class KafkaPublisher:
    """The idempotent producer of dead letters and ledger records."""

    def __init__(self, settings: Settings) -> None:
        self._errors = ClientErrors()
        self._producer = ck.Producer(
            {
                **kafka_client_config(settings),
                **PRODUCER_CONFIG,
                "client.id": "s3-sink",
                "linger.ms": 5,
                # A refusal is tried again, so that a new topic need not be waited for in the queue.
                "topic.metadata.propagation.max.ms": 10_000,
                # An outage may last: letters wait in the queue instead of failing one by one.
                "message.timeout.ms": 0,
                "error_cb": self._errors,
            },
            logger=librdkafka,
        )

    def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        """Queue a record, see `Publisher.publish`."""

        def delivered(error: ck.KafkaError | None, _: ck.Message) -> None:
            on_delivery(None if error is None else delivery_error(topic, error))

        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
        except BufferError as error:
            raise TransientError(f"The queue to Kafka is full while publishing to `{topic}`.") from error
        except ck.KafkaException as error:
            raise delivery_error(topic, error.args[0]) from error

    def poll(self) -> None:
        """Run callbacks, see `Publisher.poll`."""
        self._producer.poll(0)
        if self._errors.fatal is not None:
            raise TransientError(f"The Kafka producer cannot go on: {self._errors.fatal.str()}. Start the sink again.")

    def flush(self, timeout_seconds: float) -> int:
        """Wait for deliveries, see `Publisher.flush`."""
        return int(self._producer.flush(timeout_seconds))


def _plain(partitions: list[ck.TopicPartition]) -> list[TopicPartition]:
    return [(each.topic, each.partition) for each in partitions]
