"""A set of Kafka offsets as ranges, small however many offsets it holds as long as they lie together.

Only arithmetic lives here; which topic and partition the offsets are of is known to the caller.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

Range = tuple[int, int]

K = TypeVar("K")


@dataclass(frozen=True)
class OffsetRanges:
    """An immutable set of offsets; two sets of the same offsets are equal.

    Attributes:
        ranges: First and last offset of each range, both included; ascending, and never adjacent.
    """

    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, *ranges: Range) -> OffsetRanges:
        """Return the offsets of any ranges, both ends included; they may overlap and come in any order.

        Raises:
            ValueError: a range ends before it begins.
        """
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if last < first:
                raise ValueError(f"the range [{first}, {last}] ends before it begins")
            if merged and first <= merged[-1][1] + 1:
                if last > merged[-1][1]:
                    merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @classmethod
    def from_offsets(cls, offsets: Iterable[int]) -> OffsetRanges:
        """Return the set of single offsets, in any order."""
        ascending = sorted(set(offsets))
        if ascending and ascending[-1] - ascending[0] == len(ascending) - 1:  # as nearly always: a fifth of the time
            return cls(((ascending[0], ascending[-1]),))
        return cls.of(*zip(ascending, ascending, strict=True))

    @classmethod
    def from_json(cls, value: object) -> OffsetRanges:
        """Return what `to_json` wrote.

        Raises:
            ValueError: it is not a list of pairs of integers.
        """
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list of ranges")
        for pair in value:
            # A bool is an int to isinstance.
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int for n in pair)):
                raise ValueError(f"{pair!r} is not a pair of offsets")
        return cls.of(*((first, last) for first, last in value))

    def to_json(self) -> list[list[int]]:
        """Return the ranges as JSON holds them, for example `[[0, 4], [9, 9]]`."""
        return [[first, last] for first, last in self.ranges]

    @property
    def count(self) -> int:
        """Number of offsets."""
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def first(self) -> int | None:
        """The lowest offset, None of an empty set."""
        return self.ranges[0][0] if self.ranges else None

    @property
    def last(self) -> int | None:
        """The highest offset, None of an empty set."""
        return self.ranges[-1][1] if self.ranges else None

    def __or__(self, other: OffsetRanges) -> OffsetRanges:
        """Return the offsets that are in either set."""
        return OffsetRanges.of(*self.ranges, *other.ranges)

    def __sub__(self, other: OffsetRanges) -> OffsetRanges:
        """Return the offsets that are not in `other`."""
        left: list[Range] = []
        i, removed = 0, other.ranges
        for first, last in self.ranges:
            while i < len(removed) and removed[i][1] < first:
                i += 1
            at, j = first, i
            while j < len(removed) and removed[j][0] <= last:
                if at < removed[j][0]:
                    left.append((at, removed[j][0] - 1))
                at = removed[j][1] + 1
                j += 1
            if at <= last:
                left.append((at, last))
            i = max(i, j - 1)
        return OffsetRanges(tuple(left))

    def __and__(self, other: OffsetRanges) -> OffsetRanges:
        """Return the offsets that are in both sets."""
        return self - (self - other)

    def __contains__(self, offset: object) -> bool:
        """Return whether an offset is in the set."""
        if not isinstance(offset, int):
            return False
        at = bisect_right(self.ranges, offset, key=lambda pair: pair[0]) - 1
        return at >= 0 and offset <= self.ranges[at][1]

    def __bool__(self) -> bool:
        """Return whether there is any offset."""
        return bool(self.ranges)

    def __iter__(self) -> Iterator[Range]:
        """Iterate over the ranges, ascending."""
        return iter(self.ranges)

    def gaps(self, first: int, last: int) -> OffsetRanges:
        """Return the offsets from `first` to `last`, both included, that are not in the set."""
        return OffsetRanges.of((first, last)) - self if first <= last else OffsetRanges()


def offsets_json(offsets: Mapping[int, OffsetRanges]) -> dict[str, list[list[int]]]:
    """Return offsets by partition as the footer and the ledger hold them, for example `{"0": [[10, 57], [60, 60]]}`."""
    return {str(partition): ranges.to_json() for partition, ranges in offsets.items()}


def offsets_from_json(value: object) -> dict[int, OffsetRanges]:
    """Return what `offsets_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object of offsets by partition")
    return {int(partition): OffsetRanges.from_json(ranges) for partition, ranges in value.items()}


def united(*sets: Mapping[K, OffsetRanges]) -> dict[K, OffsetRanges]:
    """Return the offsets that any of the sets has, by partition, or by topic and partition."""
    ranges: defaultdict[K, list[Range]] = defaultdict(list)
    for each in sets:
        for key, some in each.items():
            ranges[key] += some
    return {key: OffsetRanges.of(*some) for key, some in ranges.items()}
