"""The commit arithmetic: how far each Kafka partition was read, and how far it may be committed.

Only numbers live here; what holds a commit back (buffers, dead letters under way) is passed in as floors. The
rule is in docs/architecture.md: never past a record that is not safe, never backwards.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from platform_kafka.records import TopicPartition

log = logging.getLogger(__name__)


class Offsets:
    """Positions and committed offsets of the partitions that this process owns."""

    def __init__(self) -> None:
        self._positions: dict[TopicPartition, int | None] = {}
        self._committed: dict[TopicPartition, int] = {}

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The offset that each owned partition delivers next; partitions not yet read are left out."""
        return {tp: position for tp, position in self._positions.items() if position is not None}

    @property
    def last_committed(self) -> Mapping[TopicPartition, int]:
        """What this process has committed of the owned partitions."""
        return self._committed

    @property
    def owned(self) -> Collection[TopicPartition]:
        """The partitions that this process owns."""
        return self._positions.keys()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Start with partitions whose position is not known yet."""
        for tp in partitions:
            self._positions[tp] = None
            self._committed.pop(tp, None)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions."""
        for tp in partitions:
            self._positions.pop(tp, None)
            self._committed.pop(tp, None)

    def advance(self, tp: TopicPartition, first: int, last: int | None = None) -> bool:
        """Note that the records from one offset to another were taken.

        Args:
            last: By default `first`.

        Returns:
            False if the partition is not owned: its new owner reads the records, and this process must not
            keep them.
        """
        if tp not in self._positions:
            return False
        position = self._positions[tp]
        if position is None:
            self._committed.setdefault(tp, first)  # the group starts here, so this much is committed
        elif first < position:
            # The topic was deleted and recreated, or its log was truncated. Holding the old offset would
            # leave the new records uncommitted until the old number is passed, maybe days later.
            log.warning("offset_went_back topic=%s partition=%d from=%d to=%d", *tp, position, first)
            self._committed.pop(tp, None)
        self._positions[tp] = (first if last is None else last) + 1
        return True

    def reached(self, tp: TopicPartition, end: int) -> None:
        """Note that nothing before `end` is left to take; transaction markers leave gaps before it."""
        if tp in self._positions:
            self._positions[tp] = max(self._positions[tp] or 0, end)

    def safe(self, floors: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the offset up to which each partition that was read is safe.

        Args:
            floors: For each partition the lowest offset that is not safe yet, if there is one.
        """
        return {tp: min(position, floors.get(tp, position)) for tp, position in self.positions.items()}

    def committable(self, floors: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return the offsets that are safe and not committed yet, see `safe`."""
        return {tp: offset for tp, offset in self.safe(floors).items() if offset > self._committed.get(tp, -1)}

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that a commit succeeded."""
        self._committed.update(offsets)


def lowest(*floors: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Merge floors, the lower of each partition wins."""
    result: dict[TopicPartition, int] = {}
    for each in floors:
        for tp, offset in each.items():
            result[tp] = min(offset, result.get(tp, offset))
    return result
