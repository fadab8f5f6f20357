"""Whether every committed offset is in Bronze or in a dead letter.

Ledger records and dead letters are added up between two looks, and what they leave open is verified before it is called
a gap. Asking Kafka belongs to `audit.kafka_log`, reading Bronze to `audit.file_offsets`, what is remembered to
`audit.offset_coverage.state`; docs/architecture.md has the sink's promise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from audit.collected_offsets import collect
from audit.file_offsets import FileOffsets, list_files
from audit.kafka_log import AuditLog, KafkaTopic, announced, dead_lettered
from audit.offset_coverage import state as states
from audit.offset_coverage.state import CoverageState, Gap
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import TopicPartition
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

NEVER = datetime(1970, 1, 1, tzinfo=UTC) + HELD_BACK

Offsets = dict[int, OffsetRanges]


@dataclass(frozen=True)
class DomainCoverage:
    """One domain.

    Attributes:
        accounted: Number of offsets that are accounted for.
        waiting: Number of committed offsets that wait for their grace period or their verification.
        gaps: What is missing, by partition and offset.
    """

    accounted: int
    waiting: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class CoverageReport:
    """What is known after a look.

    Attributes:
        looked_at: The last look that saw everything, UTC; None if there was none.
        complete: Whether this look was one; otherwise Kafka is out, or more is to be read.
        domains: Domain to what is known of it.
    """

    looked_at: datetime | None
    complete: bool
    domains: Mapping[str, DomainCoverage]


class Coverage:
    """The comparison; one object may be kept between looks, and it then keeps its connection to Kafka.

    Args:
        lake: Bronze, and the home of the state.
        grace: How long committed offsets may be without a ledger record before they are verified.
        kafka: Answers instead of a client made from the settings.
    """

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        grace: timedelta = GRACE,
        kafka: AuditLog | None = None,
    ) -> None:
        self._lake = lake
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._grace = grace
        self._kafka = kafka or AuditLog(settings)
        # What a search of Bronze has read that had to stop: the next look goes on from there.
        self._read_files: dict[str, FileOffsets] = {}

    def update(self) -> CoverageReport:
        """Look once: read what is new, verify what has been open for too long, and remember it.

        Kafka's absence is no error: the report is then the one of the last look, and not complete.

        Raises:
            TransientError: the lake did not answer.
        """
        state = states.load(self._lake)
        try:
            complete = self._look(state, self._clock.now())
        except KafkaUnreachableError as error:
            log.warning("offset_coverage_without_kafka error=%s", error)
            return self.known()
        states.save(self._lake, state)
        return self._report(state, complete=complete)

    def known(self) -> CoverageReport:
        """Return what the last look found, without asking Kafka.

        Raises:
            TransientError: the lake did not answer.
        """
        return self._report(states.load(self._lake), complete=False)

    def _look(self, state: CoverageState, now: datetime) -> bool:
        started = time.monotonic()
        asked = [domain.topic.name for domain in self._catalog]
        topics = self._kafka.topics(asked)
        # The offsets are asked for first: what the group had committed by then has been in the ledger's and the
        # dead letters' topics ever since, or is about to be.
        committed = {name: self._kafka.committed(name, list(topic.bounds)) for name, topic in topics.items()}
        state.follow(topics, asked)
        if not self._read_what_is_new(state, started + READ_SECONDS):
            return False
        state.looked_at = now
        for domain in self._catalog:
            topic = topics.get(domain.topic.name)
            if topic is None:
                continue
            partitions = state.topics[domain.topic.name].partitions
            for partition, (low, high) in topic.bounds.items():
                partitions[partition].follow(low, min(committed[domain.topic.name].get(partition, 0), high))
            judged = self._judge(domain, topic, state, now, started + LOOK_SECONDS)
            for each in partitions.values():
                if each.due_since is None or (judged and each.is_due(now, self._grace)):
                    each.begin_grace(now)
        return True

    def _read_what_is_new(self, state: CoverageState, deadline: float) -> bool:
        """Account for what the ledger and the dead letters name; return whether both were read to their ends."""
        parsers = {PROCESSED_EVENTS: announced, **{dlq_name(domain): dead_lettered for domain in self._catalog}}
        topics = self._kafka.topics(list(parsers))
        complete = PROCESSED_EVENTS in topics
        if not complete:
            log.warning("ledger_missing topic=%s", PROCESSED_EVENTS)
        before = state.read_to
        state.read_to = {name: read for name, read in before.items() if name.rpartition("/")[0] not in parsers}
        for name, topic in topics.items():
            name_and_id = f"{name}/{topic.id}"
            position = before.get(name_and_id, {})
            for partition, (low, high) in topic.bounds.items():
                offset = position.get(partition, low)
                position[partition] = offset if low <= offset <= high else low
            ends = {partition: high for partition, (_, high) in topic.bounds.items()}
            messages = self._kafka.read(name, position, ends, max(0.0, deadline - time.monotonic()))
            state.account(collect(pair for message in messages for pair in parsers[name](message)))
            state.read_to[name_and_id] = position
            complete = complete and all(position[partition] >= end for partition, end in ends.items())
        return complete

    def _judge(self, domain: Domain, topic: KafkaTopic, state: CoverageState, now: datetime, deadline: float) -> bool:
        """Find out what the due offsets are that are still open, and return whether there was time to."""
        name = domain.topic.name
        partitions = state.topics[name].partitions

        def due() -> Offsets:
            matured = {p: each for p, each in partitions.items() if each.is_due(now, self._grace)}
            return {p: offsets for p, each in matured.items() if (offsets := each.open(each.due))}

        if not due():
            return True
        if time.monotonic() > deadline:
            return False
        state.account(self._without_record(name, topic, due()))
        if due():
            complete, in_files = self._in_bronze(domain, [partitions[p].clean_at for p in due()], deadline)
            state.account(
                {tp: in_files.get(tp, OffsetRanges()) & some for p, some in due().items() for tp in [(name, p)]}
            )
            if not complete:
                return False
            # What is left may be a marker between records that were in Bronze; only now is it small enough to tell.
            state.account(self._without_record(name, topic, due()))
        for partition, offsets in due().items():
            kept = OffsetRanges((topic.bounds[partition],))
            for first, last in [*(offsets - kept), *(offsets & kept)]:
                log.error("offset_gap topic=%s partition=%d first=%d last=%d", name, partition, first, last)
                gap = Gap(domain.name, name, partition, first, last, now, still_in_kafka=first in kept)
                partitions[partition].gaps.append(gap)
            partitions[partition].gaps.sort(key=lambda gap: gap.first)
        return True

    def _without_record(self, name: str, topic: KafkaTopic, due: Offsets) -> dict[TopicPartition, OffsetRanges]:
        """Return the offsets at which Kafka has no record; of what retention has dropped nobody can tell."""
        kept = {p: offsets & OffsetRanges((topic.bounds[p],)) for p, offsets in due.items()}
        records = self._kafka.with_records(name, kept, PROBE_SECONDS)
        return {(name, p): offsets - records.get(p, OffsetRanges()) for p, offsets in kept.items()}

    def _in_bronze(
        self, domain: Domain, clean_at: Sequence[datetime | None], deadline: float
    ) -> tuple[bool, dict[TopicPartition, OffsetRanges]]:
        """Return what the files have that may hold offsets committed since then, and whether all were read."""
        # A partition that was never clean may be in any file.
        since = min(at or NEVER for at in clean_at) - HELD_BACK
        # Of a date of which nobody knows which files count, all are read: what replaces others has the same offsets.
        listed = list_files(self._lake, domain)
        names = [file.name for of_date in listed for file in of_date.files if file.modified_at >= since]
        files = self._read_files.setdefault(domain.name, FileOffsets())
        complete = files.read(self._lake, names, deadline)
        log.info("bronze_searched domain=%s files=%d complete=%s", domain.name, len(names), complete)
        if complete:
            del self._read_files[domain.name]
        return complete, {
            tp: files.offsets.get(tp, OffsetRanges()) | files.erased.get(tp, OffsetRanges())
            for tp in {**files.offsets, **files.erased}
        }

    def _report(self, state: CoverageState, *, complete: bool) -> CoverageReport:
        domains = {}
        for domain in self._catalog:
            topic = state.topics.get(domain.topic.name)
            partitions = topic.partitions.values() if topic else ()
            domains[domain.name] = DomainCoverage(
                sum(each.accounted.count for each in partitions),
                sum(each.open(each.committed).count for each in partitions),
                tuple(gap for each in partitions for gap in each.gaps),
            )
        return CoverageReport(state.looked_at, complete, domains)
