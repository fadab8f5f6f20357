"""The watch over offsets: whether every committed offset is in Bronze or in a dead letter.

Ledger records and dead letters are added up between two looks, and what they leave open is verified before it is called
a gap. Asking Kafka belongs to `platform_kafka.topic_log`, reading Bronze to `audit.offset_coverage.bronze_files`, the
memory to `audit.offset_coverage.state`; docs/architecture.md has the sink's promise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audit.offset_coverage import bronze_files
from audit.offset_coverage.state import CoverageState, Hole, KnownGap, Reader, StateFile, TopicState, Tracked
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.dead_letter_headers import DeadLetterHeaders
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topic_log import ConfluentLog, KafkaLog, KafkaTopic
from platform_kafka.topics import PROCESSED_EVENTS, dlq_name

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=120)
"""A ledger record follows its commit within a second; a sink that stops delivers the last ones for up to 20 s."""

LOOK_SECONDS = 35.0
"""The orchestrator ends a sensor's tick after 60 s; what was read until then is kept, the rest is read next time."""

READ_SECONDS = 20.0
PROBE_SECONDS = 3.0

HELD_BACK = timedelta(hours=6)
"""A file may be older than the commit that covers it: an outage of the store holds back the offsets of all dates."""

MAX_OFFSET = 2**63 - 1


@dataclass(frozen=True)
class Gap:
    """Offsets that were committed and are neither in Bronze nor in a dead letter.

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


@dataclass(frozen=True)
class DomainCoverage:
    """One domain.

    Attributes:
        settled: Number of offsets that are accounted for.
        waiting: Number of committed offsets that wait for their grace period or their verification.
        duplicates: Number of offsets that a second file holds again, since the watch began.
        gaps: What is missing, by partition and offset.
    """

    domain: str
    settled: int
    waiting: int
    duplicates: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class CoverageReport:
    """What a look found.

    Attributes:
        looked_at: The last look that saw everything, UTC; None if there was none.
        complete: Whether this look was one; otherwise Kafka is out, or more is to be read.
        domains: Domain to what is known of it.
    """

    looked_at: datetime | None
    complete: bool
    domains: Mapping[str, DomainCoverage]


Search = Callable[[Domain, datetime | None, datetime | None, float], bronze_files.BronzeOffsets]


class Coverage:
    """The watch; one object may be kept between looks, and it then keeps its connection to Kafka.

    Args:
        lake: Bronze, and the place of the state.
        grace: How long committed offsets may be without a ledger record before they are verified.
        kafka: Answers instead of a client made from the settings.
        search: Reads Bronze instead of `bronze_offsets.search`.
    """

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        grace: timedelta = GRACE,
        kafka: KafkaLog | None = None,
        search: Search | None = None,
    ) -> None:
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._grace = grace
        self._kafka = kafka or ConfluentLog(settings)
        self._search = search or (lambda *window: bronze_files.search(lake, *window))
        self._file = StateFile(lake)

    def update(self) -> CoverageReport:
        """Look once: read what is new, verify what has been open for too long, and remember it.

        Kafka's absence is no error: the report is then the one of the last look, and not complete.

        Raises:
            TransientError: the lake did not answer.
        """
        state, now = self._file.load(), self._clock.now()
        try:
            after, complete = self._look(state, now)
        except KafkaUnreachableError as error:
            log.warning("offset_coverage_without_kafka error=%s", error)
            return self._report(state, complete=False)
        self._file.save(after)
        return self._report(after, complete=complete)

    def known(self) -> CoverageReport:
        """Return what the last look found, without asking Kafka.

        Raises:
            TransientError: the lake did not answer.
        """
        return self._report(self._file.load(), complete=False)

    def _look(self, state: CoverageState, now: datetime) -> tuple[CoverageState, bool]:
        started = time.monotonic()
        raw = self._kafka.topics([domain.topic.name for domain in self._catalog])
        # The offsets are asked for first: what the group had committed by then has been in the ledger's and the
        # dead letters' topics ever since, or is about to be.
        committed = self._kafka.committed([(name, p) for name, topic in raw.items() for p in topic.bounds])
        letters = {dlq_name(domain): domain for domain in self._catalog}
        platform = self._kafka.topics([PROCESSED_EVENTS, *letters])
        tracked = _Tracking(state, raw)

        state, complete = self._read(state, PROCESSED_EVENTS, platform, tracked.add_files, started + READ_SECONDS)
        for name in letters:
            state, read = self._read(state, name, platform, tracked.add_letters, started + READ_SECONDS, optional=True)
            complete = complete and read
        duplicates = {d.name: state.duplicates.get(d.name, 0) + tracked.duplicates(d) for d in self._catalog}
        if complete:
            for domain in self._catalog:
                if domain.topic.name in raw:
                    self._judge(domain, tracked, raw[domain.topic.name], committed, now, started + LOOK_SECONDS)
        after = replace(
            state, looked_at=now if complete else state.looked_at, topics=tracked.topics(), duplicates=duplicates
        )
        return after, complete

    def _read(
        self,
        state: CoverageState,
        name: str,
        platform: Mapping[str, KafkaTopic],
        add: Callable[[Sequence[Message]], None],
        deadline: float,
        *,
        optional: bool = False,
    ) -> tuple[CoverageState, bool]:
        topic = platform.get(name)
        if topic is None:
            if not optional:
                log.warning("ledger_missing topic=%s", name)
            return state, optional
        reader = state.readers.get(name, Reader())
        known = reader.position if reader.topic_id in ("", topic.id) else {}
        position = {}
        for partition, (low, high) in topic.bounds.items():
            offset = known.get(partition, low)
            position[partition] = low if offset > high else max(low, offset)
        ends = {partition: high for partition, (_, high) in topic.bounds.items()}
        while True:
            chunk = self._kafka.read(name, position, ends, max(0.0, deadline - time.monotonic()))
            add(chunk.messages)
            position = chunk.position
            if chunk.complete or not chunk.messages or time.monotonic() > deadline:
                return state.with_reader(name, Reader(topic.id, position)), chunk.complete

    def _judge(
        self,
        domain: Domain,
        tracked: _Tracking,
        topic: KafkaTopic,
        committed: Mapping[TopicPartition, int],
        now: datetime,
        deadline: float,
    ) -> None:
        name = domain.topic.name
        due: dict[int, list[Hole]] = {}
        for partition, (low, high) in topic.bounds.items():
            where = (name, partition)
            tracked.find_holes(where, low, min(committed.get(where, 0), high), now)
            mature = [hole for hole in tracked[where].holes if now - hole.seen_at >= self._grace]
            open_ = [hole for hole in mature if self._probe(tracked, where, hole.first, hole.last, low, deadline)]
            if open_:
                due[partition] = open_
        if not due or time.monotonic() > deadline:
            return
        holes = [hole for of_partition in due.values() for hole in of_partition]
        found = self._search(domain, *_window(holes), max(0.0, deadline - time.monotonic()))
        log.info("bronze_searched domain=%s files=%d complete=%s", domain.name, found.files, found.read_to is None)
        for partition, of_partition in due.items():
            where, low = (name, partition), topic.bounds[partition][0]
            for hole in of_partition:
                tracked.settle(where, found.offsets.get(where, OffsetRanges()) & _offsets(hole))
                if found.read_to is not None:
                    tracked.searched(where, hole, found.read_to)
                    continue
                # What is left may be a marker between records that were found; only now is it small enough to tell.
                left = [
                    gap
                    for first, last in _offsets(hole) - tracked[where].settled
                    for gap in self._probe(tracked, where, first, last, low, deadline)
                ]
                if time.monotonic() <= deadline:
                    for first, last in left:
                        log.error("offset_gap topic=%s partition=%d first=%d last=%d", *where, first, last)
                        tracked.add_gap(where, KnownGap(first, last, now, still_in_kafka=first >= low))

    def _probe(
        self, tracked: _Tracking, where: TopicPartition, first: int, last: int, low: int, deadline: float
    ) -> list[tuple[int, int]]:
        """Return where records are, or were before retention, and settle where Kafka has none."""
        dropped = [(first, min(last, low - 1))] if first < low else []
        first = max(first, low)
        if first > last:
            return dropped
        if time.monotonic() > deadline:
            return [*dropped, (first, last)]
        extent = self._kafka.extent(where, first, last, PROBE_SECONDS)
        whole = OffsetRanges(((first, last),))
        with_records = OffsetRanges((extent,) if extent else ())
        tracked.settle(where, whole - with_records)
        return [*dropped, *with_records]

    def _report(self, state: CoverageState, *, complete: bool) -> CoverageReport:
        domains = {}
        for domain in self._catalog:
            topic = state.topics.get(domain.topic.name)
            partitions = topic.partitions if topic else {}
            domains[domain.name] = DomainCoverage(
                domain.name,
                sum(t.settled.count for t in partitions.values()),
                sum(hole.last - hole.first + 1 for t in partitions.values() for hole in t.holes),
                state.duplicates.get(domain.name, 0),
                tuple(
                    Gap(domain.name, domain.topic.name, p, g.first, g.last, g.found_at, g.still_in_kafka)
                    for p, t in sorted(partitions.items())
                    for g in t.gaps
                ),
            )
        return CoverageReport(state.looked_at, complete, domains)


class _Tracking:
    """The partitions of all raw topics during one look.

    Args:
        state: What was remembered.
        raw: The topics as they are now.
    """

    def __init__(self, state: CoverageState, raw: Mapping[str, KafkaTopic]) -> None:
        self._ids = {name: topic.id for name, topic in raw.items()}
        self._last_look = state.looked_at
        self._partitions: dict[TopicPartition, Tracked] = {}
        self._new: set[TopicPartition] = set()
        self._duplicates: dict[str, int] = {}
        for name, topic in raw.items():
            known = state.topics.get(name)
            same = known is not None and known.topic_id == topic.id
            for partition, (low, high) in topic.bounds.items():
                before = known.partitions.get(partition) if known else None
                if before is not None and not (same and before.end <= high):
                    log.warning("topic_made_anew topic=%s partition=%d first=%d end=%d", name, partition, low, high)
                    before = None
                if before is None:
                    self._new.add((name, partition))
                self._partitions[name, partition] = before or Tracked(low)

    def __getitem__(self, where: TopicPartition) -> Tracked:
        return self._partitions[where]

    def add_files(self, messages: Iterable[Message]) -> None:
        """Add the offsets that ledger records name."""
        counts: dict[TopicPartition, int] = {}
        ranges: dict[TopicPartition, list[tuple[int, int]]] = {}
        for message in messages:
            try:
                record = LedgerRecord.from_json(message.value())
            except ValueError as error:
                # Its file is then found in Bronze.
                log.warning("ledger_record_unreadable offset=%d error=%s", message.offset(), error)
                continue
            for partition, offsets in record.offsets.items():
                where = (record.topic, partition)
                if where not in self._partitions:
                    continue
                kept = self._clip(where, offsets)
                if record.recovered:  # of the same file there may be an earlier record
                    self.settle(where, kept)
                    continue
                counts[where] = counts.get(where, 0) + kept.count
                ranges.setdefault(where, []).extend(kept)
        for where, of_partition in ranges.items():
            grown = self.settle(where, OffsetRanges.of(*of_partition))
            self._duplicates[where[0]] = self._duplicates.get(where[0], 0) + counts[where] - grown

    def add_letters(self, messages: Iterable[Message]) -> None:
        """Add the offsets of dead letters."""
        offsets: dict[TopicPartition, list[int]] = {}
        for message in messages:
            source = DeadLetterHeaders.parse(message.headers()).source
            if source is not None and source[:2] in self._partitions:
                offsets.setdefault(source[:2], []).append(source[2])
        for where, of_partition in offsets.items():
            self.settle(where, self._clip(where, OffsetRanges.from_offsets(of_partition)))

    def settle(self, where: TopicPartition, offsets: OffsetRanges) -> int:
        """Note offsets as accounted for and return how many of them were not before."""
        before = self._partitions[where]
        settled = before.settled | offsets
        self._partitions[where] = replace(before, settled=settled)
        return settled.count - before.settled.count

    def find_holes(self, where: TopicPartition, low: int, committed: int, now: datetime) -> None:
        """Compare a partition with what the group has committed, and give up what has been accounted for since."""
        tracked = self._partitions[where]
        gaps = [
            replace(gap, still_in_kafka=low <= left.first)
            for gap in tracked.gaps
            if (left := _offsets(gap) - tracked.settled).first is not None
        ]
        open_ = tracked.settled.gaps(tracked.start, committed - 1)
        for gap in gaps:
            open_ = open_ - _offsets(gap)
        holes: list[Hole] = []
        for hole in tracked.holes:
            still = open_ & _offsets(hole)
            holes += [replace(hole, first=first, last=last) for first, last in still]
            open_ = open_ - still
        clean_at = None if where in self._new else self._last_look
        holes += [Hole(first, last, now, clean_at) for first, last in open_]
        self._partitions[where] = replace(
            tracked, gaps=tuple(gaps), holes=tuple(sorted(holes, key=lambda hole: hole.first))
        )

    def searched(self, where: TopicPartition, hole: Hole, read_to: datetime) -> None:
        """Note how far Bronze was searched for a hole."""
        tracked = self._partitions[where]
        noted = replace(hole, unsearched=read_to)
        self._partitions[where] = replace(tracked, holes=tuple(noted if h == hole else h for h in tracked.holes))

    def add_gap(self, where: TopicPartition, gap: KnownGap) -> None:
        """Note that offsets are missing."""
        tracked = self._partitions[where]
        gaps = sorted([*tracked.gaps, gap], key=lambda known: known.first)
        self._partitions[where] = replace(tracked, gaps=tuple(gaps))

    def duplicates(self, domain: Domain) -> int:
        """Return how many offsets of this look were in a file before."""
        return self._duplicates.get(domain.topic.name, 0)

    def topics(self) -> dict[str, TopicState]:
        """Return what is to be remembered: without the holes that were closed during this look."""
        result = {name: TopicState(topic_id, {}) for name, topic_id in self._ids.items()}
        for (name, partition), tracked in self._partitions.items():
            explained = tracked.settled
            for gap in tracked.gaps:
                explained = explained | _offsets(gap)
            holes = tuple(
                replace(hole, first=first, last=last)
                for hole in tracked.holes
                for first, last in _offsets(hole) - explained
            )
            result[name].partitions[partition] = replace(tracked, holes=holes)
        return result

    def _clip(self, where: TopicPartition, offsets: OffsetRanges) -> OffsetRanges:
        start = self._partitions[where].start
        if offsets.first is None or offsets.first >= start:
            return offsets
        return offsets & OffsetRanges(((start, MAX_OFFSET),))


def _window(holes: Iterable[Hole]) -> tuple[datetime | None, datetime | None]:
    """Return when the files that could fill holes were modified."""
    holes = list(holes)
    begins = [hole.clean_at for hole in holes]
    ends = [hole.unsearched for hole in holes]
    since = None if None in begins else min(at for at in begins if at is not None) - HELD_BACK
    return since, None if None in ends else max(at for at in ends if at is not None)


def _offsets(bounds: Hole | KnownGap) -> OffsetRanges:
    return OffsetRanges(((bounds.first, bounds.last),))
