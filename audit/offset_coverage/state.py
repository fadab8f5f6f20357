"""What the comparison of offsets remembers, as one JSON object in the lake.

It stays small because ranges merge: a healthy partition is one range. It is kept because it cannot be derived: after a
month neither Kafka nor the ledger nor the dead letters say what an offset was. What is compared with what belongs to
`audit.offset_coverage.coverage`; a state that cannot be read is as good as none.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from audit.kafka_log import KafkaTopic
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from platform_kafka.formats.json_ranges import JsonRanges
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import TopicPartition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gap:
    """Offsets that were committed and are neither in Bronze nor in a dead letter.

    Its bounds stay until all of them are accounted for, so that it is one alert.

    Attributes:
        partition: The Kafka partition.
        first: The first missing offset.
        last: The last missing offset, included.
        found_at: When it was verified, UTC.
        still_in_kafka: Whether the topic still has what is missing; otherwise retention has dropped some or all of
            it, and whether there was a record at each offset can no longer be told.
    """

    domain: str
    topic: str
    partition: int
    first: int
    last: int
    found_at: datetime
    still_in_kafka: bool

    @property
    def offsets(self) -> OffsetRanges:
        """The offsets from the first to the last."""
        return OffsetRanges(((self.first, self.last),))


class PartitionCoverage(BaseModel):
    """One partition of a raw topic.

    Attributes:
        start: The first offset that must be accounted for.
        committed: What the sink had committed at the last look.
        accounted: Offsets in Bronze, in a dead letter, or without a record in Kafka.
        gaps: What is missing, ascending.
        due: What the sink had committed at `due_since`: below it nothing may be open any more after the grace period.
        clean_at: What is open below `due` was committed after this, UTC; None if nobody knows.
    """

    start: int
    committed: int = 0
    accounted: JsonRanges = OffsetRanges()
    gaps: list[Gap] = []
    due: int = 0
    due_since: datetime | None = None
    clean_at: datetime | None = None

    @property
    def end(self) -> int:
        """The offset behind the highest one that is accounted for."""
        last = self.accounted.last
        return self.start if last is None else last + 1

    def account(self, offsets: OffsetRanges) -> None:
        """Note offsets as accounted for; those before the start are nobody's."""
        before = OffsetRanges(((0, self.start - 1),)) if self.start else OffsetRanges()
        self.accounted = self.accounted | (offsets - before)

    def open(self, end: int) -> OffsetRanges:
        """Return the offsets below an end that are neither accounted for nor in a gap."""
        offsets = self.accounted.gaps(self.start, end - 1)
        for gap in self.gaps:
            offsets = offsets - gap.offsets
        return offsets

    def is_due(self, now: datetime, grace: timedelta) -> bool:
        """Return whether the grace period of what was committed below `due` is over."""
        return self.due_since is not None and now - self.due_since >= grace

    def follow(self, low: int, committed: int) -> None:
        """Note what the sink has committed, and forget the gaps that were filled."""
        self.committed = committed
        left = [(gap, (gap.offsets - self.accounted).first) for gap in self.gaps]
        self.gaps = [replace(gap, still_in_kafka=low <= at) for gap, at in left if at is not None]

    def begin_grace(self, now: datetime) -> None:
        """Begin the grace period of what is committed now; what was committed before is judged."""
        self.clean_at, self.due_since, self.due = self.due_since, now, self.committed


class TopicCoverage(BaseModel):
    """One raw topic.

    Attributes:
        topic_id: Kafka's id of the topic, which is another one once it was recreated.
        recreated: Whether it ever was: Bronze has offsets of the topic before.
    """

    topic_id: str
    recreated: bool = False
    partitions: dict[int, PartitionCoverage] = {}


class CoverageState(BaseModel):
    """Everything that is remembered.

    Attributes:
        looked_at: The last look that read the ledger and the dead letters to their ends, UTC.
        read_to: Name and id of a topic of the platform to the next offset to read, by partition.
        topics: Raw topic to what is known of it.
    """

    looked_at: datetime | None = None
    read_to: dict[str, dict[int, int]] = {}
    topics: dict[str, TopicCoverage] = {}

    def follow(self, topics: Mapping[str, KafkaTopic], asked: Collection[str]) -> None:
        """Keep what is known of the topics that there are; one that was recreated begins anew.

        Args:
            topics: Those of the topics asked for that Kafka has.
            asked: What is known of any other stays: its domain's entry may be broken for a while.
        """
        known = self.topics
        self.topics = {name: topic for name, topic in known.items() if name not in asked}
        for name, topic in topics.items():
            before = known.get(name, TopicCoverage(topic_id=topic.id))
            recreated = before.recreated or before.topic_id != topic.id
            now = self.topics[name] = TopicCoverage(topic_id=topic.id, recreated=recreated)
            for partition, (low, high) in topic.bounds.items():
                kept = before.partitions.get(partition)
                if kept is not None and (before.topic_id != topic.id or kept.end > high):
                    log.warning("topic_recreated topic=%s partition=%d first=%d end=%d", name, partition, low, high)
                    kept, now.recreated = None, True
                now.partitions[partition] = kept or PartitionCoverage(start=low)

    def account(self, accounted: Mapping[TopicPartition, OffsetRanges]) -> None:
        """Note offsets as accounted for; those of other topics are left out."""
        for (name, partition), offsets in accounted.items():
            if name in self.topics and partition in self.topics[name].partitions:
                self.topics[name].partitions[partition].account(offsets)


def load(lake: Lake) -> CoverageState:
    """Return what was stored last, or an empty state.

    Raises:
        TransientError: the store did not answer.
    """
    stored = LakeStore(lake).read(lake.offset_coverage)
    try:
        return CoverageState() if stored is None else CoverageState.model_validate_json(stored.to_pybytes())
    except ValidationError as error:
        log.warning("offset_coverage_unreadable path=%s errors=%d", lake.offset_coverage, error.error_count())
        return CoverageState()


def save(lake: Lake, state: CoverageState) -> None:
    """Store a state in the place of the one before.

    Two that look at once overwrite each other, which costs the progress of one and nothing else: a state says what is
    accounted for together with how far the topics were read for it, so it is true whoever stored it.

    Raises:
        TransientError: the store did not take it.
    """
    LakeStore(lake).put(lake.offset_coverage, pa.py_buffer(state.model_dump_json().encode()))
