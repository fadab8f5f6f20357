"""What the audit asks of Kafka: bounds, committed offsets, the ledger, dead letters, and where records are.

It reads and never joins a group, so that it neither disturbs the sink nor moves an offset. What the answers mean is
decided in the stages and in `audit.offset_coverage.coverage`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from audit.collected_offsets import collect
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.clients import committed_offsets, unanswered
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges, Range
from platform_kafka.records import Message, TopicPartition, headers_of
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import PROCESSED_EVENTS, SINK_GROUP, kafka_client_config

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class KafkaTopic:
    """A topic as Kafka has it now.

    Attributes:
        id: Kafka's id of the topic.
        bounds: Partition to the first offset that is kept and the offset that the next record gets.
    """

    id: str
    bounds: dict[int, tuple[int, int]]


class AuditLog:
    """The questions; the connection is kept between them, and each may raise `KafkaUnreachableError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader = TopicReader(settings, "audit", answer_seconds=ANSWER_SECONDS)
        self._admin: AdminClient | None = None

    def topics(self, names: Collection[str]) -> dict[str, KafkaTopic]:
        """Return id and bounds of the topics; one that does not exist is left out."""
        bounds = self._reader.bounds(names)
        if not bounds:
            return {}
        with self._asking("topics") as admin:
            described = admin.describe_topics(ck.TopicCollection(list(bounds)), request_timeout=ANSWER_SECONDS)
            return {name: KafkaTopic(str(described[name].result().topic_id), bounds[name]) for name in bounds}

    def topic(self, name: str) -> KafkaTopic | None:
        """Return a topic's id and bounds, None if there is no such topic."""
        return self.topics([name]).get(name)

    def never_had_a_record(self, name: str) -> bool:
        """Return whether a topic exists and has given out no offset; one that retention has emptied has."""
        topic = self.topic(name)
        return topic is not None and not any(high for _, high in topic.bounds.values())

    def committed(self, name: str, partitions: Collection[int]) -> dict[int, int]:
        """Return what the sink has committed, by partition; one without a commit is left out."""
        with self._asking("committed offsets") as admin:
            offsets = committed_offsets(admin, SINK_GROUP, [(name, p) for p in partitions], ANSWER_SECONDS)
        return {partition: offset for (_, partition), offset in offsets.items()}

    def read(self, name: str, position: dict[int, int], ends: Mapping[int, int], seconds: float) -> Iterator[Message]:
        """Yield the records up to the ends that come within `seconds`, and move the position on."""
        reached = {(name, p): offset for p, offset in position.items()}
        yield from self._reader.read(reached, {(name, p): end for p, end in ends.items()}, seconds)
        position.update({p: offset for (_, p), offset in reached.items()})

    def between(self, name: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Iterate over the records of `[first, end)` of each partition.

        Raises:
            TransientError: the topic cannot be read to the ends.
        """
        reached = {(name, p): first for p, (first, _) in spans.items()}
        ends = {(name, p): end for p, (_, end) in spans.items()}
        yield from self._reader.read_all(reached, ends)
        if any(reached[tp] < end for tp, end in ends.items()):
            raise TransientError(
                f"Topic `{name}` could not be read to its end: it stopped at {sorted(reached.items())}. Look at the"
                " broker, then try again."
            )

    def all_of(self, name: str) -> Iterator[Message]:
        """Iterate over everything that a topic keeps; nothing if there is no such topic."""
        topic = self.topic(name)
        return self.between(name, topic.bounds) if topic else iter(())

    def dead_letters(self, dlq: str, name: str) -> dict[int, OffsetRanges]:
        """Return the offsets of a topic that have a dead letter, by partition."""
        return _of_topic(name, map(dead_lettered, self.all_of(dlq)))

    def ledger(self, name: str) -> dict[int, OffsetRanges]:
        """Return the offsets of a topic that the sink has said it put into files, by partition."""
        return _of_topic(name, map(announced, self.all_of(PROCESSED_EVENTS)))

    def with_records(
        self, name: str, offsets: Mapping[int, OffsetRanges], seconds: float | None = None
    ) -> dict[int, OffsetRanges]:
        """Return at which of the offsets a consumer gets a record: no marker, no aborted or compacted record.

        Args:
            seconds: Read for so long; what lies behind counts as having records. By default all is read.

        Raises:
            TransientError: the topic could not be read to the end of the ranges.
        """
        spans = {p: (ranges.first or 0, (ranges.last or 0) + 1) for p, ranges in offsets.items() if ranges}
        position = {p: first for p, (first, _) in spans.items()}
        ends = {p: end for p, (_, end) in spans.items()}
        messages = self.between(name, spans) if seconds is None else self.read(name, position, ends, seconds)
        records = _of_topic(name, ([((name, m.partition()), (m.offset(), m.offset()))] for m in messages))
        for partition, end in ends.items():
            if seconds is not None and position[partition] < end:
                unread = OffsetRanges(((position[partition], end - 1),))
                records[partition] = records.get(partition, OffsetRanges()) | unread & offsets[partition]
        return {p: ranges & offsets[p] for p, ranges in records.items()}

    def close(self) -> None:
        """Give up the connection; the next question opens another."""
        self._reader.close()
        self._admin = None

    @contextmanager
    def _asking(self, what: str) -> Iterator[AdminClient]:
        try:
            if self._admin is None:
                self._admin = AdminClient(kafka_client_config(self._settings))
            yield self._admin
        except ck.KafkaException as error:
            self.close()
            raise unanswered(self._settings, what, error) from error


def announced(message: Message) -> list[tuple[TopicPartition, Range]]:
    """Return the offsets that a record of the ledger names; none of one that cannot be read."""
    try:
        record = LedgerRecord.from_json(message.value())
    except ValueError as error:
        # The columns of its file name them too.
        log.warning("ledger_record_unreadable offset=%d error=%s", message.offset(), error)
        return []
    return [((record.topic, p), span) for p, ranges in record.offsets.items() for span in ranges]


def dead_lettered(message: Message) -> list[tuple[TopicPartition, Range]]:
    """Return the offset that a dead letter was at; none of a producer's own, whose record never was in the topic."""
    origin = DeadLetterHeaders.parse(headers_of(message)).source
    return [] if origin is None else [(origin[:2], (origin[2], origin[2]))]


def _of_topic(name: str, offsets: Iterable[Iterable[tuple[TopicPartition, Range]]]) -> dict[int, OffsetRanges]:
    collected = collect(pair for some in offsets for pair in some if pair[0][0] == name)
    return {partition: ranges for (_, partition), ranges in collected.items()}
