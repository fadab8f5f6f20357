"""Reading topics from offset to offset, without joining a group: no offset moves, no consumer is disturbed.

Every bounded reading of the platform goes through here. What the records mean belongs to who reads them; the sink,
which reads for ever and commits, has a consumer of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping
from typing import cast

import confluent_kafka as ck

from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.clients import librdkafka, through_elections, unanswered
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topics import kafka_client_config

ANSWER_SECONDS = 10.0
BATCH = 1_000

_NO_TOPIC = ck.KafkaError(ck.KafkaError.UNKNOWN_TOPIC_OR_PART)


class TopicReader:
    """A connection that is made at the first question and kept; after an error the next question makes another.

    Two readings at a time need two readers.

    Args:
        client_id: What the brokers call this client.
        admin: Whether to ask as the user that may create topics.
        answer_seconds: How long to wait for an answer.
    """

    def __init__(
        self, settings: Settings, client_id: str, *, admin: bool = False, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._settings = settings
        self._answer_seconds = answer_seconds
        self._config = {
            **kafka_client_config(settings, admin=admin),
            "client.id": client_id,
            "group.id": client_id,  # librdkafka wants one; who only assigns does not join it
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # The end of a partition is known even when its last offsets are transaction markers.
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
        }
        self._consumer: ck.Consumer | None = None

    def close(self) -> None:
        """Give up the connection; the next question opens another."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def bounds(self, topics: Collection[str]) -> dict[str, dict[int, tuple[int, int]]]:
        """Return of each partition the first offset kept and the one that the next record gets.

        A topic that does not exist is left out.

        Raises:
            KafkaUnreachableError: no broker answers.
        """
        try:
            consumer = self._connected()
            return through_elections(lambda: self._bounds(consumer, topics), self._answer_seconds)
        except ck.KafkaException as error:
            self.close()
            raise unanswered(self._settings, "the bounds of topics", error) from error

    def _bounds(self, consumer: ck.Consumer, topics: Collection[str]) -> dict[str, dict[int, tuple[int, int]]]:
        found = consumer.list_topics(timeout=self._answer_seconds).topics
        bounds = {}
        for name in topics:
            error = found[name].error if name in found else _NO_TOPIC
            if error is None:
                bounds[name] = {
                    p: consumer.get_watermark_offsets(ck.TopicPartition(name, p), timeout=self._answer_seconds)
                    for p in found[name].partitions
                }
            elif error.code() not in (ck.KafkaError.UNKNOWN_TOPIC_OR_PART, ck.KafkaError._UNKNOWN_TOPIC):
                raise ck.KafkaException(error)  # a topic whose leader is not known is there all the same
        return bounds

    def read(
        self, position: dict[TopicPartition, int], ends: Mapping[TopicPartition, int], seconds: float
    ) -> Generator[Message, None, bool]:
        """Yield the records from `position` up to `ends`, which are not included, that come within `seconds`.

        Args:
            position: The next offset of each partition; it is moved on with each record, and also where no record is:
                behind transaction markers and what retention dropped.
            ends: Where to stop in each partition.
            seconds: Stop after so long, counted from the first `next`.

        Returns:
            Whether Kafka has nothing more before the ends.

        Raises:
            KafkaUnreachableError: no broker answers.
        """
        left = {tp for tp, end in ends.items() if position[tp] < end}
        if not left:
            return True
        deadline = time.monotonic() + seconds
        paused: list[ck.TopicPartition] = []
        try:
            consumer = self._connected()
            consumer.assign([ck.TopicPartition(*tp, position[tp]) for tp in sorted(left)])
            try:
                while left and time.monotonic() < deadline:
                    # `consume` alone would wait its whole timeout for a batch that is not full.
                    first = consumer.poll(min(0.2, seconds))
                    for message in [first, *consumer.consume(BATCH, timeout=0)] if first is not None else ():
                        tp, error = (message.topic() or "", message.partition() or 0), message.error()
                        if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
                            raise ck.KafkaException(error)
                        if tp not in left:
                            continue
                        offset = message.offset() or 0
                        position[tp] = max(position[tp], min(offset if error else offset + 1, ends[tp]))
                        if error is not None or offset + 1 >= ends[tp]:
                            left.discard(tp)
                            paused.append(ck.TopicPartition(*tp))
                            consumer.pause(paused[-1:])
                        if error is None and offset < ends[tp]:
                            yield cast("Message", message)
            finally:
                # The client is closed already where an error came from elsewhere than this loop.
                if self._consumer is consumer:
                    consumer.resume(paused)
                    consumer.unassign()
        except ck.KafkaException as error:
            self.close()
            raise unanswered(self._settings, f"records of {_named(ends)}", error) from error
        return not left

    def read_all(self, position: dict[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> Generator[Message]:
        """Yield every record from `position` up to `ends`, see `read`, however long it takes.

        Raises:
            TransientError: nothing came for `answer_seconds`, or no broker answers.
        """
        while True:
            before = dict(position)
            if (yield from self.read(position, ends, self._answer_seconds)):
                return
            if position == before:
                left = [tp for tp, end in ends.items() if position[tp] < end]
                raise TransientError(
                    f"Kafka at `{self._settings.kafka_bootstrap_servers}` sent nothing of {_named(left)} for"
                    f" {self._answer_seconds:.0f} s. Try again."
                )

    def _connected(self) -> ck.Consumer:
        if self._consumer is None:
            self._consumer = ck.Consumer(self._config, logger=librdkafka)
        return self._consumer


def reading_range(
    topic: str, bounds: Mapping[int, tuple[int, int]], offsets: Mapping[int, int]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return the position and the ends by which `read` reads a topic from offsets on.

    An offset below the low watermark is of what retention has dropped, one beyond the end of a topic that was deleted
    and recreated: both stand for the beginning, as does none.

    Args:
        bounds: What `TopicReader.bounds` says of the topic.
        offsets: Kafka partition to the offset to begin with.
    """
    position, ends = {}, {}
    for partition, (low, high) in bounds.items():
        offset = offsets.get(partition, low)
        position[topic, partition] = offset if low <= offset <= high else low
        ends[topic, partition] = high
    return position, ends


def _named(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(f"`{topic}`-{partition}" for topic, partition in sorted(partitions))
