"""What the watch over offsets asks of Kafka: a protocol, and its implementation with librdkafka.

The implementation reads and never joins a group, so that it neither disturbs the sink nor moves an offset. What the
answers mean is decided in `audit.offset_coverage.coverage`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topics import SINK_GROUP, kafka_client_config

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

ANSWER_SECONDS = 5.0

# The ledger of 30 days has up to a million records, and a dead letter up to 5 MB: neither fits at once.
CHUNK_MESSAGES = 20_000
CHUNK_BYTES = 32 * 1_048_576


@dataclass(frozen=True)
class KafkaTopic:
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

    def topics(self, names: Collection[str]) -> dict[str, KafkaTopic]:
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
    """The questions, asked with librdkafka; the connection is kept between them."""

    def __init__(self, settings: Settings) -> None:
        from platform_kafka.topic_reader import TopicReader

        self._settings = settings
        self._reader = TopicReader(settings, "offset-coverage", answer_seconds=ANSWER_SECONDS)
        self._admin: AdminClient | None = None

    def topics(self, names: Collection[str]) -> dict[str, KafkaTopic]:
        """Return the topics, see `KafkaLog.topics`."""
        import confluent_kafka as ck

        bounds = self._reader.bounds(names)
        if not bounds:
            return {}
        with self._asking("topics") as admin:
            wanted = ck.TopicCollection(list(bounds))
            described = admin.describe_topics(wanted, request_timeout=ANSWER_SECONDS)
            return {name: KafkaTopic(str(described[name].result().topic_id), bounds[name]) for name in bounds}

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return committed offsets, see `KafkaLog.committed`."""
        from platform_kafka.clients import committed_offsets

        with self._asking("committed offsets") as admin:
            return committed_offsets(admin, SINK_GROUP, partitions, ANSWER_SECONDS)

    def read(self, topic: str, position: Mapping[int, int], ends: Mapping[int, int], seconds: float) -> Chunk:
        """Return records, see `KafkaLog.read`."""
        reached, messages, size = _of_topic(topic, position), list[Message](), 0
        with closing(self._reader.read(reached, _of_topic(topic, ends), seconds)) as arriving:
            for message in arriving:
                messages.append(message)
                size += len(message.value() or b"")
                if len(messages) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
                    break
        complete = all(reached[topic, p] >= end for p, end in ends.items())
        return Chunk(messages, {p: offset for (_, p), offset in reached.items()}, complete)

    def read_all(self, topic: str, bounds: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Yield every record of `[first, end)` of each partition.

        Raises:
            TransientError: the topic cannot be read to the ends.
        """
        reached = {(topic, p): first for p, (first, _) in bounds.items()}
        ends = {(topic, p): end for p, (_, end) in bounds.items()}
        yield from self._reader.read_all(reached, ends)
        if any(reached[tp] < end for tp, end in ends.items()):
            raise TransientError(
                f"Topic `{topic}` could not be read to its end: it stopped at {sorted(reached.items())}. Look at the"
                " broker, then try again.",
                topic=topic,
            )

    def extent(self, where: TopicPartition, first: int, last: int, seconds: float) -> tuple[int, int] | None:
        """Return the extent of records in a range, see `KafkaLog.extent`."""
        reached = {where: first}
        found = [message.offset() for message in self._reader.read(reached, {where: last + 1}, seconds)]
        if reached[where] <= last:
            return (found[0] if found else reached[where]), last
        return (found[0], found[-1]) if found else None

    def close(self) -> None:
        """Give up the connection; the next question opens another."""
        self._reader.close()
        self._admin = None

    @contextmanager
    def _asking(self, what: str) -> Iterator[AdminClient]:
        import confluent_kafka as ck
        from confluent_kafka.admin import AdminClient

        from platform_kafka.clients import unanswered

        if self._admin is None:
            self._admin = AdminClient(kafka_client_config(self._settings))
        try:
            yield self._admin
        except ck.KafkaException as error:
            self.close()
            raise unanswered(self._settings, what, error) from error


def _of_topic(topic: str, offsets: Mapping[int, int]) -> dict[TopicPartition, int]:
    return {(topic, partition): offset for partition, offset in offsets.items()}
