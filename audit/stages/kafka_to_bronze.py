"""Kafka → Bronze: every committed offset is in a Bronze row or in a dead letter, or Kafka has no record there.

What an offset is explained by is decided here; reading files belongs to `audit.file_offsets`, talking to Kafka to
`audit.kafka_log`. Nothing is taken from what the sink reported: docs/architecture.md has its promise, this is
the proof. Of single dates it proves what their files hold and no more: a record's date is in its value, so that only
all files together say that an offset is in none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from audit.erasure_ledger import ErasureLedger, erased_offsets
from audit.file_offsets import FileOffsets, list_files
from audit.kafka_log import AuditLog, KafkaTopic
from audit.offset_coverage.state import PartitionCoverage, TopicCoverage, load
from audit.report import Equation, Kind, Problem, Reason, Stage, StageResult, problems_of
from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.topics import dlq_name

Offsets = dict[int, OffsetRanges]

BRONZE, EXPIRED_DEAD_LETTER, EXPIRED_ERASED, LOST_BEFORE_EXPIRY, BELOW = (
    "bronze",
    "expired dead letter",
    "expired and erased",
    "lost before expiry",
    "expired in kafka",
)

LOSSES = (
    (Kind.LOST, Kind.LOST, "committed and still in Kafka, in no Bronze file and no dead letter"),
    (
        LOST_BEFORE_EXPIRY,
        Kind.LOST,
        "dropped by Kafka since; the sink's ledger or the sensor `offset_coverage` knows that there were records",
    ),
    (
        Kind.EXPIRED_UNVERIFIABLE,
        Kind.EXPIRED_UNVERIFIABLE,
        "dropped by Kafka before anybody looked; Bronze has offsets before and after them",
    ),
    (Kind.PHANTOM, Kind.PHANTOM, "Bronze has offsets that Kafka has not given out"),
)

MISSING_OFFSETS = "missing offsets (an audit without dates and the check `no_offset_gap` compare those)"
"""What the files of some dates cannot tell."""

LOOKS = 3
"""How often a date's files are read again of which some went meanwhile, into others: seconds against a night's work."""


def compare(lake: Lake, domain: Domain, kafka: AuditLog) -> StageResult:
    """Compare a domain's topic with its Bronze.

    It is safe while the sink works: the committed offsets are asked for before Bronze is listed and Kafka's ends
    after it, so that what arrives meanwhile counts as not read yet.

    Args:
        domain: The domain, with all its dates: an offset is lost or not.

    Raises:
        TransientError: Kafka or the store did not answer.
    """
    name = domain.topic.name
    before = kafka.topic(name)
    if before is None:
        return _without_topic(domain)
    committed = kafka.committed(name, list(before.bounds))
    files = FileOffsets()
    unclear = _read(lake, domain, files)
    topic = kafka.topic(name) or before
    known = load(lake).topics.get(name)
    another = topic.id != before.id or (known is not None and known.topic_id != topic.id)
    covered = known.partitions if known is not None and not another else {}
    recreated = another or (known is not None and known.recreated)
    ledger = ErasureLedger(lake).read(domain.name)

    def erased() -> Offsets:
        return erased_offsets(ledger, {p: some for (topic, p), some in files.erased.items() if topic == name})

    def holes() -> Offsets:
        result, excused = {}, erased()
        for partition, (low, high) in topic.bounds.items():
            in_files = files.offsets.get((name, partition), OffsetRanges())
            first = low if in_files.first is None or recreated else min(in_files.first, low)
            missing = in_files.gaps(first, min(committed.get(partition, low), high) - 1)
            result[partition] = missing - excused.get(partition, OffsetRanges())
        return {p: offsets for p, offsets in result.items() if offsets}

    if holes():
        # The sink may have put a file between the listing and now, and recovery may have put one back.
        unclear = _read(lake, domain, files)
    account = _Account(name, topic, files, committed, recreated=recreated)
    account.excuse(erased())
    account.explain(kafka, holes(), dlq_name(domain), covered)
    result = _result(domain, topic, files, account)
    return replace(result, problems=(*result.problems, *unclear))


def _read(lake: Lake, domain: Domain, files: FileOffsets) -> list[Problem]:
    """Read what was not read yet of a domain, and return the dates of which nobody knows which files count."""
    listed = list_files(lake, domain)
    files.read(lake, [file.name for of_date in listed if not of_date.unclear for file in of_date.files])
    unclear = [of_date for of_date in listed if of_date.unclear]
    files.read(lake, [file.name for of_date in unclear for file in of_date.files], may_replace=True)
    return [
        Problem(Stage.BRONZE, domain.name, each.day, Kind.UNREADABLE_NOTE, 1, detail=each.unclear) for each in unclear
    ]


def compare_date(lake: Lake, domain: Domain, day: date, kafka: AuditLog) -> StageResult:
    """Compare the files of one date with their footers and with the offsets that Kafka has given out.

    No file of another date is opened, so that no offset is called missing; the result says so.

    Raises:
        TransientError: Kafka or the store did not answer, or the date's files changed during each of three looks.
    """
    name = domain.topic.name
    files = _files_of(lake, domain, day)
    if files is None:
        text = f"`{lake.uri(lake.bronze_partition(domain, day))}` has no file, and another layer knows the date"
        return StageResult(Stage.BRONZE, domain.name, day, not_checked=text)
    topic = kafka.topic(name)  # after the files, so that what they have was given out
    if topic is None:
        return _without_topic(domain, day)
    known = load(lake).topics.get(name)
    recreated = known is not None and (known.recreated or known.topic_id != topic.id)
    account = _Account(name, topic, files, {}, recreated=recreated)
    if files.erased:
        ledger = [each for each in ErasureLedger(lake).read(domain.name) if each.partition_date == day]
        account.excuse(erased_offsets(ledger, {p: some for (of, p), some in files.erased.items() if of == name}))
    return StageResult(
        Stage.BRONZE,
        domain.name,
        day,
        equations=(_bronze_rows(domain, files, account),),
        uncounted={Reason.ERASED: sum(account.count(Reason.ERASED, EXPIRED_ERASED).values())},
        problems=_problems(domain, day, files, account),
        not_compared=MISSING_OFFSETS,
    )


def known_gaps(lake: Lake, domain: Domain, kafka: AuditLog) -> StageResult | None:
    """Return what the sensor `offset_coverage` has found missing of a domain, None if it knows of nothing.

    Its gaps have no date, so an audit of any date names them.

    Raises:
        TransientError: Kafka or the store did not answer.
    """
    name, state = domain.topic.name, load(lake)
    topic, known = kafka.topic(name), state.topics.get(name)
    if topic is None or known is None or known.topic_id != topic.id or not (gaps := _gaps(known)):
        return None
    detail = f"the sensor `offset_coverage` verified that they are missing, and still missed them at {state.looked_at}"
    count = sum(offsets.count for offsets in gaps.values())
    lost = Problem(Stage.BRONZE, domain.name, None, Kind.LOST, count, name, gaps, detail=detail)
    return StageResult(Stage.BRONZE, domain.name, problems=(lost,), not_compared=MISSING_OFFSETS)


def _gaps(known: TopicCoverage) -> Offsets:
    gaps = {p: OffsetRanges.of(*((gap.first, gap.last) for gap in each.gaps)) for p, each in known.partitions.items()}
    return {p: left for p, offsets in gaps.items() if (left := offsets - known.partitions[p].accounted)}


def _files_of(lake: Lake, domain: Domain, day: date) -> FileOffsets | None:
    """Read the files of a date, again if one went meanwhile, because its rows are in another then."""
    for _ in range(LOOKS):
        names = {file.name for file in lake.list_date(domain, day)}
        files = FileOffsets()
        files.read(lake, sorted(names))
        if names.issubset(file.name for file in lake.list_date(domain, day)):
            return files if names else None
    raise TransientError(
        f"Bronze of domain `{domain.name}`, {day}, lost files during each of {LOOKS} looks. Run the audit again when"
        " its compaction or erasure has ended."
    )


def _without_topic(domain: Domain, day: date | None = None) -> StageResult:
    return StageResult(Stage.BRONZE, domain.name, day, not_checked=f"Kafka has no topic `{domain.topic.name}`")


class _Account:
    """The offsets of a topic, by what became of them and by Kafka partition; each is in one of these."""

    def __init__(
        self, name: str, topic: KafkaTopic, files: FileOffsets, committed: Mapping[int, int], *, recreated: bool
    ) -> None:
        beyond = Reason.TOPIC_RECREATED if recreated else Kind.PHANTOM
        self._name = name
        self._topic = topic
        self.offsets: defaultdict[str, Offsets] = defaultdict(dict)
        for partition, (low, high) in topic.bounds.items():
            in_files = files.offsets.get((name, partition), OffsetRanges())
            reached = max(low, committed.get(partition, low))
            self.offsets[BRONZE][partition] = in_files & _between(low, high)
            self.offsets[BELOW][partition] = in_files & _between(0, low)
            self.offsets[Reason.NOT_READ_YET][partition] = _between(reached, high) - in_files
        for (topic_name, partition), in_files in files.offsets.items():
            if topic_name == name:
                end = topic.bounds.get(partition, (0, 0))[1]
                self.offsets[beyond][partition] = in_files - _between(0, end)

    def excuse(self, erased: Offsets) -> None:
        """Count the offsets that went with a person's data."""
        for partition, offsets in erased.items():
            low = self._topic.bounds.get(partition, (0, 0))[0]
            self.offsets[EXPIRED_ERASED][partition] = offsets & _between(0, low)
            self.offsets[Reason.ERASED][partition] = offsets - _between(0, low)

    def explain(self, kafka: AuditLog, holes: Offsets, dlq: str, covered: Mapping[int, PartitionCoverage]) -> None:
        """Decide what became of committed offsets that no file has."""
        if not holes:
            return
        in_dlq = kafka.dead_letters(dlq, self._name)
        expired, kept = Offsets(), Offsets()
        for partition, missing in holes.items():
            below = _between(0, self._topic.bounds[partition][0])
            sent = missing & in_dlq.get(partition, OffsetRanges())
            self.offsets[EXPIRED_DEAD_LETTER][partition] = sent & below
            self.offsets[Reason.DEAD_LETTER][partition] = sent - below
            expired[partition], kept[partition] = (missing - sent) & below, missing - sent - below
        if any(expired.values()):
            self._explain_expired(kafka.ledger(self._name), expired, covered)
        with_records = kafka.with_records(self._name, kept)
        for partition, offsets in kept.items():
            self.offsets[Kind.LOST][partition] = offsets & with_records.get(partition, OffsetRanges())
            self.offsets[Reason.NO_RECORD][partition] = offsets - with_records.get(partition, OffsetRanges())

    def _explain_expired(self, ledger: Offsets, expired: Offsets, covered: Mapping[int, PartitionCoverage]) -> None:
        """Decide by what was noted while Kafka had the offsets: the ledger of files, and what was accounted for."""
        for partition, offsets in expired.items():
            known = covered.get(partition, PartitionCoverage(start=0))
            gaps = OffsetRanges.of(*((gap.first, gap.last) for gap in known.gaps))
            lost = offsets & (gaps | ledger.get(partition, OffsetRanges()))
            self.offsets[LOST_BEFORE_EXPIRY][partition] = lost
            self.offsets[Reason.ACCOUNTED_BEFORE_EXPIRY][partition] = (offsets - lost) & known.accounted
            self.offsets[Kind.EXPIRED_UNVERIFIABLE][partition] = offsets - lost - known.accounted

    def count(self, *fates: str) -> dict[str, int]:
        """Return how many offsets each of some fates has."""
        return {fate: sum(some.count for some in self.offsets[fate].values()) for fate in fates}


def _result(domain: Domain, topic: KafkaTopic, files: FileOffsets, account: _Account) -> StageResult:
    count = account.count
    kafka = count(BRONZE, Reason.DEAD_LETTER, Reason.NO_RECORD, Reason.ERASED, Reason.NOT_READ_YET, Kind.LOST)
    equations = (
        Equation("kafka offsets", sum(high - low for low, high in topic.bounds.values()), kafka),
        _bronze_rows(domain, files, account),
    )
    uncounted = {
        Reason.DEAD_LETTER: count(EXPIRED_DEAD_LETTER)[EXPIRED_DEAD_LETTER],
        Reason.ERASED: count(EXPIRED_ERASED)[EXPIRED_ERASED],
        Reason.ACCOUNTED_BEFORE_EXPIRY: count(Reason.ACCOUNTED_BEFORE_EXPIRY)[Reason.ACCOUNTED_BEFORE_EXPIRY],
    }
    return StageResult(
        Stage.BRONZE,
        domain.name,
        equations=equations,
        uncounted=uncounted,
        problems=_problems(domain, None, files, account),
    )


def _bronze_rows(domain: Domain, files: FileOffsets, account: _Account) -> Equation:
    count = account.count
    bronze = {
        "offsets in kafka": count(BRONZE)[BRONZE],
        **count(BELOW),
        Reason.DELIVERED_AGAIN: files.rows - files.distinct,
        **count(Reason.TOPIC_RECREATED, Kind.PHANTOM),
        "other topics": sum(
            offsets.count for (topic, _), offsets in files.offsets.items() if topic != domain.topic.name
        ),
    }
    return Equation("bronze rows", files.rows, bronze)


def _problems(domain: Domain, day: date | None, files: FileOffsets, account: _Account) -> tuple[Problem, ...]:
    name, count = domain.topic.name, account.count
    problems = [
        Problem(Stage.BRONZE, domain.name, day, kind, count(fate)[fate], name, offsets, detail=detail)
        for fate, kind, detail in LOSSES
        if (offsets := {p: some for p, some in account.offsets[fate].items() if some})
    ]
    of_files = (
        (Kind.FOOTER_DIFFERS, files.lying, "the footer names other offsets than the rows have, or another file"),
        (Kind.UNREADABLE_FILE, list(files.unreadable), next(iter(files.unreadable.values()), "")),
    )
    return (*problems, *problems_of(Stage.BRONZE, domain.name, day, of_files))


def _between(first: int, end: int) -> OffsetRanges:
    """Return the offsets from `first` to `end`, which is not included."""
    return OffsetRanges(((first, end - 1),)) if first < end else OffsetRanges()
