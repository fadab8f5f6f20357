"""What one tick of discovery decides: it compares Bronze with partition_meta and says what changes and what runs.

The decision is a pure function, so that every case is a unit test; which dates are listed belongs to `listing`,
storing the changes and launching runs to the caller. Late data is found by content, whatever its age.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from platform_core.domain.catalog import Domain
from platform_core.lake.lake import BronzeFile
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings

WAITING = frozenset({State.PENDING, State.LATE, State.RETRYING, State.REPROCESSING})
"""The states from which a run takes a date."""

QUEUED_RUNS = 4
"""Runs of one domain that discovery keeps waiting: enough that none idles, few enough that a correction is next."""


@dataclass(frozen=True)
class Ready:
    """A date that must run.

    Attributes:
        reason: The state that brought it here: PENDING, LATE, RETRYING or REPROCESSING.
        attempt: Retries so far.
        urgent: A correction, or the newest date: it goes before the backlog.
    """

    day: date
    reason: State
    attempt: int
    urgent: bool


@dataclass
class TickPlan:
    """What one tick decides for one domain.

    Attributes:
        missing: Dates that Bronze has no longer all files of, with the files that are gone; they stay as they are.
        changes: Transitions to make before runs are launched, in this order.
        queue: Dates to launch runs for: corrections and the newest date first, then oldest first.
        changed: Dates whose Bronze content is new since the last tick that saw them, with their files.
        unsettled: Dates that are DONE with other files than Bronze's, and too young to judge.
        quiet_in: Seconds until the first date that waits for nothing but quiet has had it; None if none waits.
    """

    changes: list[Change] = field(default_factory=list)
    queue: list[Ready] = field(default_factory=list)
    changed: dict[date, list[BronzeFile]] = field(default_factory=dict)
    unsettled: set[date] = field(default_factory=set)
    missing: dict[date, list[str]] = field(default_factory=dict)
    quiet_in: float | None = None


def ready_at(day: date, settings: Settings) -> datetime:
    """When a date may first be processed: some hours (6 by default) after it ends, UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=settings.partition_ready_hour_utc)


def retry_at(partition: Partition, settings: Settings) -> datetime:
    """When a FAILED date may be retried: the backoff doubles with each failed attempt."""
    seconds = settings.partition_retry_backoff_seconds * 2**partition.retry_count
    since = partition.updated_at or datetime.now(UTC)
    return since + timedelta(seconds=seconds)


def settle_seconds(partition: Partition | None, now: datetime, settings: Settings) -> float:
    """How long a date waits for quiet: shortly when it has been DONE for long, so that late data is corrected at once.

    A date that is corrected again and again waits for longer, so that a trickle does not make a run of each file.
    """
    done = partition.processed_at if partition is not None and partition.status is State.DONE else None
    if done is None or (now - done).total_seconds() < settings.partition_settle_max_seconds:
        return settings.partition_settle_seconds
    return min(settings.partition_quick_settle_seconds, settings.partition_settle_seconds)


def seconds_until_quiet(
    files: Collection[BronzeFile], quiet: float, waits_since: datetime, now: datetime, settings: Settings
) -> float:
    """In how many seconds a date's files may be processed: none came lately then, or it has waited long enough.

    0 or less is now.

    What comes later is late data anyway, so a date that never rests waits for `PARTITION_SETTLE_MAX_SECONDS` at most.

    Args:
        files: The date's files, their times by the clock of `now`; see `store_clock`.
        quiet: Seconds without a new file, see `settle_seconds`.
        waits_since: Since when nothing but this rule keeps the date from a run.
    """
    age = abs(now - max(file.modified_at for file in files))
    waited = abs(now - waits_since)
    return min(quiet - age.total_seconds(), settings.partition_settle_max_seconds - waited.total_seconds())


def expired_leases(
    rows: Collection[Partition], sightings: Mapping[date, tuple[datetime, float]], seconds: float, settings: Settings
) -> frozenset[date]:
    """Return the dates whose runs have not renewed their leases in time.

    Counted from when the renewal was first seen, by the seconds of the host that looks: a run's clock may be another,
    and either may be set. No two of them are compared.

    Args:
        rows: The domain's rows of partition_meta; DONE dates may be left out.
        sightings: See `DiscoveryCursor.sighted`.
        seconds: The present one.
    """
    return frozenset(
        row.partition_date
        for row in rows
        if row.status is State.IN_FLIGHT
        and row.partition_date in sightings
        and seconds - sightings[row.partition_date][1] > settings.partition_lease_seconds
    )


def failed_by_our_clock(
    row: Partition, sightings: Mapping[date, tuple[datetime, float]], now: datetime, seconds: float
) -> Partition:
    """Return a row whose backoff counts from when it was first seen FAILED here, not from when its run's host says."""
    if row.status is not State.FAILED or row.partition_date not in sightings:
        return row
    return replace(row, updated_at=now - timedelta(seconds=seconds - sightings[row.partition_date][1]))


def queue_room(claimed: Collection[date], settings: Settings) -> int:
    """How many more dates may be queued; the limit keeps a correction from queueing behind years of backlog."""
    return max(QUEUED_RUNS * settings.run_max_dates - len(claimed), 0)


def waiting(
    domain: Domain, rows: Mapping[date, Partition], now: datetime, settings: Settings, claimed: Collection[date]
) -> list[date]:
    """Return the dates that this tick may queue, the most urgent first: what must be listed to decide it."""
    due = [
        day
        for day, row in rows.items()
        if day not in claimed
        and now >= ready_at(day, settings)
        and (row.status in WAITING or _is_retried(row, domain, now, settings))
    ]
    due.sort(key=lambda day: (not _is_urgent(day, rows[day].status, now), day))
    return due[: queue_room(claimed, settings)]


def _is_retried(row: Partition, domain: Domain, now: datetime, settings: Settings) -> bool:
    return row.status is State.FAILED and row.retry_count < domain.max_retries and now >= retry_at(row, settings)


def _is_urgent(day: date, state: State, now: datetime) -> bool:
    return state in (State.LATE, State.REPROCESSING) or now.date() - day <= timedelta(days=1)


def plan(
    domain: Domain,
    bronze: Mapping[date, Sequence[BronzeFile]],
    partitions: Sequence[Partition],
    now: datetime,
    settings: Settings,
    is_running: Callable[[str], bool],
    claimed: Collection[date] = frozenset(),
    pinned: Callable[[date], Collection[str]] = lambda _: (),
    expired: Collection[date] = frozenset(),
) -> TickPlan:
    """Decide what one tick must do, all of it: what changes, and which dates runs are launched for now.

    Args:
        bronze: The dates that this tick listed, with their files; a date that is not here is not compared.
        partitions: The domain's rows of partition_meta: of each date that is not DONE or that this tick listed.
        now: The tick's time, UTC.
        settings: Readiness, settle interval, backoff, and dates a run.
        is_running: Whether the run with this id is queued or running.
        claimed: Dates for which a run is queued or running already.
        pinned: Returns the files that a date's row names; asked only of dates whose files differ.
        expired: Dates whose runs have not renewed their leases in time.
    """
    result = TickPlan()
    rows = {row.partition_date: row for row in partitions}

    def change(decided: Change) -> None:
        result.changes.append(decided)
        rows[decided.day] = decided.apply(rows.get(decided.day), now)

    def is_settled(files: Sequence[BronzeFile], row: Partition, waits_since: datetime) -> bool:
        seconds = seconds_until_quiet(files, settle_seconds(row, now, settings), waits_since, now, settings)
        if seconds > 0 and (result.quiet_in is None or seconds < result.quiet_in):
            result.quiet_in = seconds
        return seconds <= 0

    for row in partitions:
        if (decided := _without_listing(row, domain, now, settings, is_running, expired)) is not None:
            change(decided)
    ready = []
    for day, files in bronze.items():
        known, fingerprint = rows.get(day), file_hash(file.name for file in files)
        before = set(pinned(day)) if known is not None and known.file_hash != fingerprint else set()
        if gone := before - {file.name for file in files}:
            # Bronze is immutable: files that are gone were lost, and what was made of them is all that is left.
            result.missing[day] = sorted(gone)
            continue
        if not files:
            continue
        if known is not None and known.status is State.DONE and known.file_hash != fingerprint:
            came = min((file.modified_at for file in files if file.name not in before), default=now)
            if not is_settled(files, known, came):
                result.unsettled.add(day)
                continue
        if (decided := _by_listing(domain, day, known, files, fingerprint)) is not None:
            change(decided)
            result.changed[day] = list(files)
        waiting_row, due = rows[day], ready_at(day, settings)
        if waiting_row.status not in WAITING or day in claimed or now < due:
            continue
        waits_since = max(due, waiting_row.updated_at or now)
        if waiting_row.status is State.LATE or is_settled(files, waiting_row, waits_since):
            urgent = _is_urgent(day, waiting_row.status, now)
            ready.append(Ready(day, waiting_row.status, waiting_row.retry_count, urgent))
    ready.sort(key=lambda item: (not item.urgent, item.day))
    for item in ready[: queue_room(claimed, settings)]:
        result.queue.append(item)
        if item.reason is State.LATE:
            result.changes.append(Change(domain.name, item.day, State.LATE, Event.QUEUED))
    return result


def _without_listing(
    row: Partition,
    domain: Domain,
    now: datetime,
    settings: Settings,
    is_running: Callable[[str], bool],
    expired: Collection[date],
) -> Change | None:
    """Return what happened to a date whatever its files are: its run was lost, its retry is due, its retries ended."""
    if row.status is State.IN_FLIGHT:
        if row.partition_date in expired:
            return lost_run(row, "its lease expired: the process is gone or hangs")
        if not (row.run_id and is_running(row.run_id)):
            return lost_run(row, "it ended without reporting: killed, out of memory, or cancelled")
    elif row.status is State.FAILED:
        if row.retry_count >= domain.max_retries:
            return _exhausted(row)
        if now >= retry_at(row, settings):
            retries = {"retry_count": row.retry_count + 1}
            return Change(domain.name, row.partition_date, State.FAILED, Event.RETRY, set=retries)
    return None


def _by_listing(
    domain: Domain, day: date, row: Partition | None, files: Sequence[BronzeFile], fingerprint: str
) -> Change | None:
    """Return what the files of a date say: it is new, or it is DONE with others."""
    detail = {"files": len(files)}
    if row is None or row.status is State.UNDISCOVERED:
        pinned = {"source_files": tuple(file.name for file in files), "file_hash": fingerprint}
        return Change(domain.name, day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned, detail=detail)
    if row.status is State.DONE and row.file_hash != fingerprint:
        return Change(domain.name, day, State.DONE, Event.FILES_CHANGED, made_of=row.file_hash, detail=detail)
    return None


def lost_run(row: Partition, cause: str) -> Change:
    """Return the change that frees a partition whose run is over, or seems to be.

    Args:
        row: The partition, IN_FLIGHT.
        cause: Why, as the end of a sentence about the run.
    """
    return Change(
        row.domain,
        row.partition_date,
        State.IN_FLIGHT,
        Event.RUN_FAILED,
        run_id=row.run_id,
        set={"error_message": f"Run {row.run_id} was lost: {cause}."},
        detail={"error": "RunLost", "cause": cause},
    )


def _exhausted(row: Partition) -> Change:
    return Change(
        row.domain,
        row.partition_date,
        State.FAILED,
        Event.RETRIES_EXHAUSTED,
        detail={"retries": row.retry_count, "cause": row.error_message},
    )


def chunks(queue: Sequence[Ready], size: int) -> list[list[Ready]]:
    """Split a queue into runs of consecutive dates, at most `size` each.

    Urgent dates have runs of their own when there is more than one run's work, so that they can go first; a shorter
    queue is not split for it, because starting a run costs 5 to 8 seconds of CPU.
    """
    split = len(queue) > size
    ordered = queue if split else sorted(queue, key=lambda ready: ready.day)
    result: list[list[Ready]] = []
    for item in ordered:
        last = result[-1] if result else []
        follows = last and last[-1].day + timedelta(days=1) == item.day
        if follows and len(last) < size and not (split and last[-1].urgent != item.urgent):
            last.append(item)
        else:
            result.append([item])
    return result
