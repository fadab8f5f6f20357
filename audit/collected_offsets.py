"""Many ranges of offsets as one set for each topic and partition.

Only collecting lives here: what an offset was found in is known to who collects, and the arithmetic of the sets belongs
to `platform_kafka.offset_ranges`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from platform_kafka.offset_ranges import OffsetRanges, Range
from platform_kafka.records import TopicPartition

COMPACT_AT = 200_000
"""Ranges of one partition that are kept before they are merged: 200,000 are 30 MB, a merged history is one."""


def collect(ranges: Iterable[tuple[TopicPartition, Range]]) -> dict[TopicPartition, OffsetRanges]:
    """Return the offsets of all ranges by topic and partition; they may overlap and come in any order."""
    merged: dict[TopicPartition, OffsetRanges] = {}
    waiting: defaultdict[TopicPartition, list[Range]] = defaultdict(list)

    def merge(tp: TopicPartition) -> None:
        merged[tp] = OffsetRanges.of(*merged.get(tp, ()), *waiting.pop(tp))

    for tp, some in ranges:
        waiting[tp].append(some)
        if len(waiting[tp]) > COMPACT_AT:
            merge(tp)
    for tp in list(waiting):
        merge(tp)
    return merged
