"""What the audit asks of Kafka: bounds, committed offsets, dead letters, the ledger, and where records are.

It asks through the watch's client, which joins no group and moves no offset; only the questions of the audit are
added here. What the answers mean is decided in the stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from platform_core.settings import Settings
from platform_kafka.dead_letter_headers import DeadLetterHeaders
from platform_kafka.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import Message
from platform_kafka.topic_log import ConfluentLog, KafkaTopic
from platform_kafka.topics import PROCESSED_EVENTS


class AuditLog:
    """The questions; close it when done."""

    def __init__(self, settings: Settings) -> None:
        self._log = ConfluentLog(settings)

    def topic(self, name: str) -> KafkaTopic | None:
        """Return a topic's id and bounds, None if there is no such topic.

        Raises:
            KafkaUnreachableError: no broker answers.
        """
        return self._log.topics([name]).get(name)

    def committed(self, name: str, partitions: Mapping[int, object]) -> dict[int, int]:
        """Return what the sink has committed, by partition; one without a commit is left out."""
        found = self._log.committed([(name, partition) for partition in partitions])
        return {partition: offset for (_, partition), offset in found.items()}

    def letters(self, dead_letters: str, name: str) -> dict[int, OffsetRanges]:
        """Return the offsets of a topic that have a dead letter, by partition."""
        offsets: dict[int, set[int]] = {}
        for message in self.all_of(dead_letters):
            source = DeadLetterHeaders.parse(message.headers()).source
            if source is not None and source[0] == name:
                offsets.setdefault(source[1], set()).add(source[2])
        return {partition: OffsetRanges.from_offsets(some) for partition, some in offsets.items()}

    def ledger(self, name: str) -> dict[int, OffsetRanges]:
        """Return the offsets of a topic that the sink has said it put into files, by partition."""
        result: dict[int, OffsetRanges] = {}
        for message in self.all_of(PROCESSED_EVENTS):
            try:
                record = LedgerRecord.from_json(message.value())
            except ValueError:
                continue
            for partition, ranges in record.offsets.items() if record.topic == name else ():
                result[partition] = result.get(partition, OffsetRanges()) | ranges
        return result

    def with_records(self, name: str, wanted: Mapping[int, OffsetRanges]) -> dict[int, OffsetRanges]:
        """Return at which of the offsets a consumer gets a record: no marker, no aborted or compacted record.

        Raises:
            TransientError: the topic could not be read to the end of the ranges.
        """
        found: dict[int, list[int]] = {}
        spans = {p: (ranges.first or 0, (ranges.last or 0) + 1) for p, ranges in wanted.items() if ranges}
        for message in self._log.read_all(name, spans):
            partition, offset = message.partition(), message.offset()
            if offset in wanted.get(partition, OffsetRanges()):
                found.setdefault(partition, []).append(offset)
        return {partition: OffsetRanges.from_offsets(offsets) for partition, offsets in found.items()}

    def between(self, name: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Iterate over the records of `[first, end)` of each partition."""
        return self._log.read_all(name, spans)

    def all_of(self, name: str) -> Iterator[Message]:
        """Iterate over everything that a topic keeps; nothing if there is no such topic."""
        topic = self.topic(name)
        return self._log.read_all(name, topic.bounds) if topic else iter(())

    def close(self) -> None:
        """Give up the connection."""
        self._log.close()
