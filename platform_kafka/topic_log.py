"""What the watch over offsets asks of Kafka: a protocol, and its implementation with librdkafka.

The implementation reads and never joins a group, so that it neither disturbs the sink nor moves an offset. What the
answers mean is decided in `audit.offset_coverage.coverage`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topics import SINK_GROUP, kafka_client_config

if TYPE_CHECKING:
    import confluent_kafka as ck
    from confluent_kafka.admin import AdminClient

_librdkafka = logging.getLogger("librdkafka")

ANSWER_SECONDS = 5.0
BATCH = 2_000

# The ledger of 30 days has up to a million records, and a dead letter up to 5 MB: neither fits at once.
CHUNK_MESSAGES = 20_000
CHUNK_BYTES = 32 * 1_048_576


class KafkaUnreachableError(TransientError):
    """No broker answers, or a topic is missing; the next look asks again."""


@dataclass(frozen=True)
class Topic:
    """A topic as Kafka has it now.

    Attributes:
        id: Kafka's id of the topic.
        bounds: Partition to the first offset that is kept and the offset that the next record gets.
    """

    id: str
    bounds: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Chunk:
    """Records of a topic.

    Attributes:
        messages: The records.
        position: Partition to the next offset to read.
        complete: Whether every end was reached.
    """

    messages: Sequence[Message]
    position: dict[int, int]
    complete: bool


class KafkaLog(Protocol):
    """The questions; each may raise `KafkaUnreachableError`."""

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """Return id and bounds of the topics; one that does not exist is left out."""
        ...

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the sink's committed offsets; a partition without one is left out."""
        ...

    def read(self, topic: str, position: Mapping[int, int], ends: Mapping[int, int], seconds: float) -> Chunk:
        """Return records from a position up to the ends, as many as come within `seconds` and fit into memory."""
        ...

    def extent(self, where: TopicPartition, first: int, last: int, seconds: float) -> tuple[int, int] | None:
        """Return the first and the last offset with a record in a range, None if it has no record.

        What lies after a reading of `seconds` counts as having records.
        """
        ...


class ConfluentLog:
    """The questions, asked with librdkafka; the connection is kept between them.

    Args:
        settings: Where Kafka is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: ck.Consumer | None = None
        self._admin: AdminClient | None = None

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """Return the topics, see `KafkaLog.topics`."""
        import confluent_kafka as ck

        with self._asking("topics") as consumer:
            found = consumer.list_topics(timeout=ANSWER_SECONDS).topics
            existing = [name for name in names if name in found and found[name].error is None]
            if not existing:
                return {}
            futures = self._administer().describe_topics(ck.TopicCollection(existing), request_timeout=ANSWER_SECONDS)
            described = {name: future.result() for name, future in futures.items()}
            return {
                name: Topic(
                    str(described[name].topic_id),
                    {
                        p: consumer.get_watermark_offsets(ck.TopicPartition(name, p), timeout=ANSWER_SECONDS)
                        for p in found[name].partitions
                    },
                )
                for name in existing
            }

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return committed offsets, see `KafkaLog.committed`."""
        import confluent_kafka as ck

        wanted = [ck.TopicPartition(*where) for where in partitions]
        with self._asking("committed offsets") as consumer:
            found = consumer.committed(wanted, timeout=ANSWER_SECONDS) if wanted else []
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def read(self, topic: str, position: Mapping[int, int], ends: Mapping[int, int], seconds: float) -> Chunk:
        """Return records, see `KafkaLog.read`."""
        reached, messages, size = dict(position), list[Message](), 0
        with closing(self._messages(topic, reached, ends, seconds)) as arriving:
            for message in arriving:
                messages.append(message)
                size += len(message.value() or b"")
                if len(messages) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
                    break
        return Chunk(messages, reached, all(reached[p] >= end for p, end in ends.items()))

    def extent(self, where: TopicPartition, first: int, last: int, seconds: float) -> tuple[int, int] | None:
        """Return the extent of records in a range, see `KafkaLog.extent`."""
        topic, partition = where
        reached = {partition: first}
        found: list[int] = []
        for message in self._messages(topic, reached, {partition: last + 1}, seconds):
            if first <= message.offset() <= last:
                found[1:] = [message.offset()] if found else []
                found = found or [message.offset()]
        if reached[partition] <= last:
            return (found[0] if found else reached[partition]), last
        return (found[0], found[-1]) if found else None

    def close(self) -> None:
        """Give up the connection; the next question opens another."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = self._admin = None

    def _messages(
        self, topic: str, reached: dict[int, int], ends: Mapping[int, int], seconds: float
    ) -> Generator[Message]:
        """Yield records, and move `reached` on also where no record is: behind markers and retention."""
        import confluent_kafka as ck

        wanted = {p for p, end in ends.items() if reached[p] < end}
        if not wanted:
            return
        deadline = time.monotonic() + seconds
        with self._asking(f"records of `{topic}`") as consumer:
            consumer.assign([ck.TopicPartition(topic, p, reached[p]) for p in sorted(wanted)])
            try:
                while wanted and time.monotonic() < deadline:
                    for message in consumer.consume(BATCH, timeout=0.2):
                        partition, offset, error = (
                            int(message.partition() or 0),
                            int(message.offset() or 0),
                            message.error(),
                        )
                        if error is None:
                            reached[partition] = offset + 1
                            yield cast("Message", message)
                        elif error.code() == ck.KafkaError._PARTITION_EOF:
                            reached[partition] = max(reached[partition], offset)
                            wanted.discard(partition)
                        else:
                            raise ck.KafkaException(error)
                        if reached[partition] >= ends[partition]:
                            wanted.discard(partition)
            finally:
                consumer.unassign()

    @contextmanager
    def _asking(self, what: str) -> Iterator[ck.Consumer]:
        import confluent_kafka as ck

        try:
            yield self._consume()
        except ck.KafkaException as error:
            self.close()
            raise KafkaUnreachableError(
                f"Kafka at `{self._settings.kafka_bootstrap_servers}` did not answer for {what}: {error.args[0]}."
                " The next look asks again."
            ) from error

    def _consume(self) -> ck.Consumer:
        import confluent_kafka as ck

        if self._consumer is None:
            self._consumer = ck.Consumer(
                {
                    **kafka_client_config(self._settings),
                    "client.id": "offset-coverage",
                    "group.id": SINK_GROUP,  # to ask for its offsets; who only assigns does not join
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "queued.max.messages.kbytes": 16_384,
                },
                logger=_librdkafka,
            )
        return self._consumer

    def _administer(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient(kafka_client_config(self._settings))
        return self._admin
