"""Kafka → Bronze: every committed offset is in a Bronze row or in a dead letter, or Kafka has no record there.

What an offset is explained by is decided here; reading files belongs to `file_offsets`, talking to Kafka to
`kafka_log`. Nothing is taken from what the sink reported: docs/architecture.md has its promise, this is the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.file_offsets import FileOffsets, list_files
from audit.kafka_log import AuditLog
from audit.offset_coverage.state import PartitionCoverage, load
from audit.report import MAX_NAMED, Equation, Kind, Problem, Reason, Stage, StageResult
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.topics import dlq_name

Offsets = dict[int, OffsetRanges]


@dataclass
class _Account:
    """The offsets of a topic by Kafka partition; each is in one of these."""

    bronze: Offsets = field(default_factory=dict)
    letters: Offsets = field(default_factory=dict)
    no_record: Offsets = field(default_factory=dict)
    not_read_yet: Offsets = field(default_factory=dict)
    lost: Offsets = field(default_factory=dict)
    # Below what Kafka keeps, between offsets that Bronze has.
    settled: Offsets = field(default_factory=dict)
    expired_letters: Offsets = field(default_factory=dict)
    lost_before_expiry: Offsets = field(default_factory=dict)
    unverifiable: Offsets = field(default_factory=dict)


def compare(lake: Lake, domain: Domain, kafka: AuditLog) -> StageResult:
    """Compare a domain's topic with its Bronze.

    It is safe while the sink works: the committed offsets are asked for before Bronze is listed and Kafka's ends
    after it, so that what arrives meanwhile counts as not read yet.

    Args:
        lake: The lake.
        domain: The domain; the stage has no dates, an offset is lost or not.
        kafka: Answers for Kafka.

    Raises:
        TransientError: Kafka or the store did not answer.
    """
    name = domain.topic.name
    before = kafka.topic(name)
    if before is None:
        return StageResult(Stage.BRONZE, domain.name, not_checked=f"Kafka has no topic `{name}`")
    committed = kafka.committed(name, list(before.bounds))
    files = FileOffsets()
    files.read(lake, [file.name for file in list_files(lake, domain)])
    topic = kafka.topic(name) or before
    known = load(lake).topics.get(name)
    made_anew = topic.id != before.id or (known is not None and known.topic_id != topic.id)
    watched = known.partitions if known is not None and not made_anew else {}

    def due(bronze: Mapping[tuple[str, int], OffsetRanges]) -> Offsets:
        result = {}
        for partition, (low, high) in topic.bounds.items():
            here = bronze.get((name, partition), OffsetRanges())
            first = low if here.first is None or made_anew else min(here.first, low)
            result[partition] = here.gaps(first, min(committed.get(partition, low), high) - 1)
        return {p: holes for p, holes in result.items() if holes}

    holes = due(files.offsets)
    if holes:
        # The sink may have put a file between the listing and now, and recovery may have put one back.
        files.read(lake, [file.name for file in list_files(lake, domain)])
        holes = due(files.offsets)
    account = _account(domain, kafka, topic.bounds, committed, files, holes, watched)
    return _result(domain, topic.bounds, files, account, made_anew)


def _account(
    domain: Domain,
    kafka: AuditLog,
    bounds: Mapping[int, tuple[int, int]],
    committed: Mapping[int, int],
    files: FileOffsets,
    holes: Offsets,
    watched: Mapping[int, PartitionCoverage],
) -> _Account:
    name, account = domain.topic.name, _Account()
    for partition, (low, high) in bounds.items():
        if high > low:
            kept = OffsetRanges(((low, high - 1),))
            account.bronze[partition] = files.offsets.get((name, partition), OffsetRanges()) & kept
            reached = max(low, committed.get(partition, low))
            unread = OffsetRanges(((reached, high - 1),)) if reached < high else OffsetRanges()
            account.not_read_yet[partition] = unread - account.bronze[partition]
    if not holes:
        return account
    letters = kafka.letters(dlq_name(domain), name)
    ledger: Offsets | None = None
    open_: Offsets = {}
    for partition, missing in holes.items():
        low = bounds[partition][0]
        sent = missing & letters.get(partition, OffsetRanges())
        rest = missing - sent
        expired = rest & OffsetRanges(((0, low - 1),)) if low else OffsetRanges()
        account.expired_letters[partition] = sent & OffsetRanges(((0, low - 1),)) if low else OffsetRanges()
        account.letters[partition] = sent - account.expired_letters[partition]
        if expired:
            ledger = kafka.ledger(name) if ledger is None else ledger
            _judge_expired(account, partition, expired, ledger.get(partition, OffsetRanges()), watched.get(partition))
        if still := rest - expired:
            open_[partition] = still
    with_records = kafka.with_records(name, open_)
    for partition, still in open_.items():
        account.lost[partition] = still & with_records.get(partition, OffsetRanges())
        account.no_record[partition] = still - account.lost[partition]
    return account


def _judge_expired(
    account: _Account, partition: int, expired: OffsetRanges, written: OffsetRanges, watched: PartitionCoverage | None
) -> None:
    """Decide by what was noted while Kafka had the offsets: the sink's ledger of files, and the watch's verdict."""
    gaps = OffsetRanges.of(*((gap.first, gap.last) for gap in watched.gaps)) if watched else OffsetRanges()
    settled = watched.accounted if watched else OffsetRanges()
    account.lost_before_expiry[partition] = expired & (gaps | written)
    rest = expired - account.lost_before_expiry[partition]
    account.settled[partition] = rest & settled
    account.unverifiable[partition] = rest - settled


def _result(
    domain: Domain,
    bounds: Mapping[int, tuple[int, int]],
    files: FileOffsets,
    account: _Account,
    made_anew: bool,
) -> StageResult:
    name = domain.topic.name
    beyond = _beyond(name, bounds, files)
    bronze = _bronze_equation(name, bounds, files, _count(account.bronze), _count(beyond), made_anew)
    explained = {
        Reason.DEAD_LETTER: _count(account.letters) + _count(account.expired_letters),
        Reason.NO_RECORD: _count(account.no_record),
        Reason.NOT_READ_YET: _count(account.not_read_yet),
        Reason.ACCOUNTED_BEFORE_EXPIRY: _count(account.settled),
        Reason.DELIVERED_AGAIN: bronze.parts[Reason.DELIVERED_AGAIN],
        Reason.TOPIC_MADE_ANEW: _count(beyond) if made_anew else 0,
    }
    problems = [
        *_offset_problems(domain, account, {} if made_anew else beyond),
        *_file_problems(domain, files),
    ]
    equations = (_kafka_equation(bounds, account), bronze)
    return StageResult(Stage.BRONZE, domain.name, None, equations, explained, tuple(problems))


def _kafka_equation(bounds: Mapping[int, tuple[int, int]], account: _Account) -> Equation:
    return Equation(
        "kafka offsets",
        sum(high - low for low, high in bounds.values()),
        {
            "bronze": _count(account.bronze),
            Reason.DEAD_LETTER: _count(account.letters),
            Reason.NO_RECORD: _count(account.no_record),
            Reason.NOT_READ_YET: _count(account.not_read_yet),
            Kind.LOST: _count(account.lost),
        },
    )


def _bronze_equation(
    name: str,
    bounds: Mapping[int, tuple[int, int]],
    files: FileOffsets,
    in_kafka: int,
    beyond: int,
    made_anew: bool,
) -> Equation:
    below = {
        partition: offsets & OffsetRanges(((0, bounds[partition][0] - 1),))
        for (topic, partition), offsets in files.offsets.items()
        if topic == name and partition in bounds and bounds[partition][0] > 0
    }
    return Equation(
        "bronze rows",
        files.rows,
        {
            "offsets in kafka": in_kafka,
            "expired in kafka": _count(below),
            Reason.DELIVERED_AGAIN: files.rows - sum(offsets.count for offsets in files.offsets.values()),
            (Reason.TOPIC_MADE_ANEW if made_anew else Kind.PHANTOM): beyond,
            "other topics": sum(offsets.count for (topic, _), offsets in files.offsets.items() if topic != name),
        },
    )


def _offset_problems(domain: Domain, account: _Account, phantom: Offsets) -> list[Problem]:
    listed = (
        (Kind.LOST, account.lost, "committed and still in Kafka, in no Bronze file and no dead letter"),
        (
            Kind.LOST,
            account.lost_before_expiry,
            "dropped by Kafka since; the sink's ledger or the watch knows that there were records",
        ),
        (
            Kind.EXPIRED_UNVERIFIABLE,
            account.unverifiable,
            "dropped by Kafka before anybody looked; Bronze has offsets before and after them",
        ),
        (Kind.PHANTOM, phantom, "Bronze has offsets that Kafka has not given out"),
    )
    return [
        Problem(
            Stage.BRONZE, domain.name, None, kind, _count(offsets), domain.topic.name, _filled(offsets), detail=detail
        )
        for kind, offsets, detail in listed
        if _count(offsets)
    ]


def _file_problems(domain: Domain, files: FileOffsets) -> list[Problem]:
    listed = (
        (Kind.FOOTER_DIFFERS, files.lying, "the footer names other offsets than the rows have"),
        (Kind.UNREADABLE_FILE, list(files.unreadable), next(iter(files.unreadable.values()), "")),
    )
    return [
        Problem(Stage.BRONZE, domain.name, None, kind, len(names), keys=tuple(names[:MAX_NAMED]), detail=detail)
        for kind, names, detail in listed
        if names
    ]


def _beyond(name: str, bounds: Mapping[int, tuple[int, int]], files: FileOffsets) -> Offsets:
    """Return the offsets of the topic's rows that Kafka has not given out, also in partitions that it has not."""
    result = {}
    for (topic, partition), there in files.offsets.items():
        end = bounds.get(partition, (0, 0))[1]
        outside = there - OffsetRanges(((0, end - 1),)) if end else there
        if topic == name and outside:
            result[partition] = outside
    return result


def _count(offsets: Mapping[int, OffsetRanges]) -> int:
    return sum(ranges.count for ranges in offsets.values())


def _filled(offsets: Mapping[int, OffsetRanges]) -> Offsets:
    return {partition: ranges for partition, ranges in offsets.items() if ranges}
