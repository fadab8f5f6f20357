"""Records that wait for their file: one open buffer for each topic and partition date.

A buffer spans the topic's Kafka partitions and never grows after it was sealed, so that a repeated write is
the same file. When to seal is decided here; what was sealed belongs to `sink.bronze.file`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from platform_kafka.records import TopicPartition
from sink.consuming.offsets import lowest
from sink.records.rows import Rows

# An order of 607 bytes occupies 1,310 bytes as a row, an event of 217 bytes 630 (tracemalloc); the rest is what the
# allocator keeps. The text is counted twice, because the Arrow table holds it again while the file is encoded.
ROW_OVERHEAD_BYTES = 1_100


class SealReason(StrEnum):
    """Why a buffer was closed for writing; the label `reason` of the metric `pdp_sink_flushes_total`."""

    ROWS = "rows"
    AGE = "age"
    MEMORY = "memory"
    DRAIN = "drain"
    RECREATED = "recreated"


@dataclass(eq=False)
class Buffer:
    """Rows of one topic and date.

    Attributes:
        topic: The raw topic.
        opened_at: When its first row came, in seconds of a clock that never steps back.
        rows: The rows.
        firsts: Kafka partition to the lowest offset of its rows.
        size: Estimated memory, bytes.
    """

    topic: str
    day: date
    opened_at: float
    rows: Rows = field(default_factory=Rows)
    firsts: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def add(self, rows: Rows) -> None:
        """Append rows."""
        self.rows.extend(rows)
        self.size += _memory(rows)
        for partition, first in rows.firsts().items():
            self.firsts[partition] = min(first, self.firsts.get(partition, first))

    def drop(self, partitions: Collection[int]) -> bool:
        """Take out the rows of some Kafka partitions.

        Returns:
            Whether there were any.
        """
        if not self.firsts.keys() & set(partitions):
            return False
        self.rows = self.rows.without(partitions)
        self.size = _memory(self.rows)
        self.firsts = {p: first for p, first in self.firsts.items() if p not in partitions}
        return True

    def min_pending_offsets(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset of its rows."""
        return {(self.topic, partition): first for partition, first in self.firsts.items()}


class Buffers:
    """The open buffers: rows whose file is not begun.

    Args:
        max_rows: Rows that seal a buffer.
        max_age_seconds: Age of a buffer's first row that seals it.
        on_sealed: Takes each sealed buffer, and why it was sealed.
    """

    def __init__(self, max_rows: int, max_age_seconds: float, on_sealed: Callable[[Buffer, SealReason], None]) -> None:
        self._max_rows = max_rows
        self._max_age_seconds = max_age_seconds
        self._on_sealed = on_sealed
        self._open: dict[tuple[str, date], Buffer] = {}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(len(buffer.rows) for buffer in self._open.values())

    @property
    def size(self) -> int:
        """Estimated memory of the rows, bytes."""
        return sum(buffer.size for buffer in self._open.values())

    @property
    def oldest(self) -> float | None:
        """When the oldest row came."""
        return min((buffer.opened_at for buffer in self._open.values()), default=None)

    def add(self, topic: str, day: date, rows: Rows, now: float) -> None:
        """Put rows into the buffer of their date, and seal that buffer whenever it is full."""
        key = (topic, day)
        start = 0
        while start < len(rows):
            buffer = self._open.get(key)
            if buffer is None:
                buffer = self._open[key] = Buffer(topic, day, now)
            stop = start + self._max_rows - len(buffer.rows)
            buffer.add(rows if start == 0 and stop >= len(rows) else rows.slice(start, stop))
            start = stop
            if len(buffer.rows) >= self._max_rows:
                self._seal(key, SealReason.ROWS)

    def seal_due(self, now: float) -> None:
        """Seal the buffers that are old enough."""
        for key in [key for key, buffer in self._open.items() if now - buffer.opened_at >= self._max_age_seconds]:
            self._seal(key, SealReason.AGE)

    def seal_above(self, budget_bytes: int) -> None:
        """Seal the largest buffers until the others fit into the budget."""
        excess = self.size - budget_bytes
        while excess > 0 and self._open:
            key = max(self._open, key=lambda k: self._open[k].size)
            excess -= self._open[key].size
            self._seal(key, SealReason.MEMORY)

    def seal_all(self) -> None:
        """Seal every buffer."""
        for key in list(self._open):
            self._seal(key, SealReason.DRAIN)

    def seal_topic(self, topic: str) -> None:
        """Seal every buffer of a topic that was recreated."""
        for key in [key for key in self._open if key[0] == topic]:
            self._seal(key, SealReason.RECREATED)

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Take out the rows of partitions that this process no longer owns."""
        for buffer in self._open.values():
            buffer.drop({partition for topic, partition in partitions if topic == buffer.topic})
        self._open = {key: buffer for key, buffer in self._open.items() if buffer.rows}

    def min_pending_offsets(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset of the rows."""
        return lowest(*(buffer.min_pending_offsets() for buffer in self._open.values()))

    def _seal(self, key: tuple[str, date], reason: SealReason) -> None:
        self._on_sealed(self._open.pop(key), reason)


def _memory(rows: Rows) -> int:
    return 2 * sum(rows.sizes) + ROW_OVERHEAD_BYTES * len(rows)
