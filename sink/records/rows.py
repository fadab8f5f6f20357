"""Records as columns: what messages are decoded to, what a buffer collects, and what a file is made of.

A good record never is an object of its own on this way. Which file a row belongs to is decided by
`sink.records.buffer`; the Arrow form of the columns is made by `sink.bronze.arrow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from sink.records.decoding import Record

Column = list[Any]


@dataclass(eq=False)
class Rows:
    """Columns of equal length; the rows are in order of arrival.

    Attributes:
        partitions: Kafka partition of each row.
        offsets: Kafka offset.
        timestamps: Kafka timestamp, microseconds since 1970; None if there is none that makes sense.
        keys: The Kafka key as text.
        schema_ids: Registry id of the writer's schema; None for plain JSON.
        extras: Fields that the contract does not know, as JSON text.
        sizes: Bytes of the record's value.
        values: A column for each of the contract's, in its order; none while there is no row.
    """

    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    schema_ids: list[int | None] = field(default_factory=list)
    extras: list[str | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    values: list[Column] = field(default_factory=list)

    @classmethod
    def of_record(cls, partition: int, offset: int, timestamp: int | None, record: Record, size: int) -> Rows:
        """Return the row of one record."""
        values = [[value] for value in record.values]
        return cls([partition], [offset], [timestamp], [record.key], [record.schema_id], [record.extra], [size], values)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets)

    def extend(self, rows: Rows) -> None:
        """Append rows of the same contract."""
        if not self.values:
            self.values = [[] for _ in rows.values]
        for mine, others in zip(self._columns, rows._columns, strict=True):
            mine += others

    def slice(self, start: int, stop: int) -> Rows:
        """Return a copy of the rows from number `start` to the one before `stop`."""
        return self._changed(lambda column: column[start:stop])

    def pick(self, numbers: Sequence[int]) -> Rows:
        """Return a copy of the rows with these numbers, in their order."""
        return self._changed(lambda column: list(map(column.__getitem__, numbers)))

    def without(self, partitions: Collection[int]) -> Rows:
        """Return a copy without the rows of some Kafka partitions."""
        kept = [partition not in partitions for partition in self.partitions]
        return self._changed(lambda column: list(compress(column, kept)))

    def firsts(self) -> dict[int, int]:
        """Return the lowest offset of each Kafka partition."""
        # A poll brings a partition's records one after another. Their offsets ascend, unless its topic was recreated.
        if self.partitions.count(self.partitions[0]) == len(self):  # 0.01 µs a row, and not 0.1
            return {self.partitions[0]: min(self.offsets)}
        firsts: dict[int, int] = {}
        for partition, offset in zip(self.partitions, self.offsets, strict=True):
            if offset < firsts.setdefault(partition, offset):
                firsts[partition] = offset
        return firsts

    @property
    def _columns(self) -> list[Column]:
        platform = (self.partitions, self.offsets, self.timestamps, self.keys, self.schema_ids, self.extras, self.sizes)
        return [*platform, *self.values]

    def _changed(self, change: Callable[[Column], Column]) -> Rows:
        partitions, offsets, timestamps, keys, schema_ids, extras, sizes, *values = map(change, self._columns)
        return Rows(partitions, offsets, timestamps, keys, schema_ids, extras, sizes, values)
