"""Discovery: compares Bronze with partition_meta and says what must change and what must run.

The decision is a pure function, so that every case is a unit test; which dates are listed belongs to `scan`,
storing the changes and launching runs to the caller. Design: late data is found by content, whatever its age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from platform_core.domain.catalog import Domain
from platform_core.lake.lake import BronzeFile
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings

WAITING = frozenset({State.PENDING, State.LATE, State.RETRYING, State.REPROCESSING})
"""The states from which a run takes a date."""


@dataclass(frozen=True)
class Ready:
    """A date that must run.

    Attributes:
        day: The date.
        reason: The state that brought it here: PENDING, LATE, RETRYING or REPROCESSING.
        fingerprint: md5 of the Bronze files seen by this tick.
        attempt: Retries so far.
        since: When the row last changed; makes the run's key new for each stay in a state.
        urgent: A correction, or the newest date: it goes before the backlog.
    """

    day: date
    reason: State
    fingerprint: str
    attempt: int
    since: datetime | None
    urgent: bool


@dataclass
class Plan:
    """What one tick decides for one domain.

    Attributes:
        changes: Transitions to make before runs are launched.
        queue: Dates to run: corrections and the newest date first, then oldest first.
        changed: Dates whose Bronze content is new since the last tick that saw them, with their files.
        unsettled: Dates that are DONE with other files than Bronze's, and too young to judge.
    """

    changes: list[Change] = field(default_factory=list)
    queue: list[Ready] = field(default_factory=list)
    changed: dict[date, list[BronzeFile]] = field(default_factory=dict)
    unsettled: set[date] = field(default_factory=set)


def ready_at(day: date, settings: Settings) -> datetime:
    """When a date may first be processed: some hours (6 by default) after it ends, UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=settings.partition_ready_hour_utc)


def retry_at(partition: Partition, settings: Settings) -> datetime:
    """When a FAILED date may be retried: the backoff doubles with each failed attempt."""
    seconds = settings.partition_retry_backoff_seconds * 2**partition.retry_count
    since = partition.updated_at or datetime.now(UTC)
    return since + timedelta(seconds=seconds)


def lease_expired(partition: Partition, now: datetime, settings: Settings) -> bool:
    """Whether a date is IN_FLIGHT and its run has not renewed its lease in time."""
    if partition.status is not State.IN_FLIGHT or partition.updated_at is None:
        return False
    return now - partition.updated_at > timedelta(seconds=settings.partition_lease_seconds)


def waiting(
    domain: Domain,
    rows: Mapping[date, Partition],
    now: datetime,
    settings: Settings,
    claimed: frozenset[date],
    limit: int,
) -> list[date]:
    """Return the dates that a run may be launched for, the most urgent first, at most `limit` less those claimed.

    The limit keeps a correction from queueing behind years of backlog.
    """
    due = [
        day
        for day, row in rows.items()
        if day not in claimed
        and now >= ready_at(day, settings)
        and (row.status in WAITING or _is_retried(row, domain, now, settings))
    ]
    due.sort(key=lambda day: (not _is_urgent(day, rows[day].status, now), day))
    return due[: max(limit - len(claimed), 0)]


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
    claimed: frozenset[date] = frozenset(),
) -> Plan:
    """Decide what one tick must do.

    Args:
        domain: The domain.
        bronze: The dates that this tick listed, with their files; a date that is not here is not compared.
        partitions: All rows of the domain in partition_meta.
        now: The tick's time, UTC.
        settings: Readiness, settle interval, lease and backoff.
        is_running: Whether the run with this id is queued or running.
        claimed: Dates for which a run is queued or running already.
    """
    result = Plan()
    rows = {row.partition_date: row for row in partitions}
    state_of: dict[date, tuple[State, int, datetime | None]] = {}
    for day, row in rows.items():
        state_of[day] = (row.status, row.retry_count, row.updated_at)
        if row.status is State.IN_FLIGHT:
            if lease_expired(row, now, settings):
                result.changes.append(lost_run(row, "its lease expired: the process is gone or hangs"))
            elif not (row.run_id and is_running(row.run_id)):
                result.changes.append(lost_run(row, "it ended without reporting: killed, out of memory, or cancelled"))
        elif row.status is State.FAILED:
            if row.retry_count >= domain.max_retries:
                result.changes.append(_exhausted(row))
            elif now >= retry_at(row, settings):
                retry = row.retry_count + 1
                result.changes.append(Change(domain.name, day, State.FAILED, Event.RETRY, set={"retry_count": retry}))
                state_of[day] = (State.RETRYING, retry, now)

    for day, files in bronze.items():
        if not files:
            continue
        names = [f.name for f in files]
        fingerprint = file_hash(names)
        settled = now - max(f.modified_at for f in files) >= timedelta(seconds=settings.partition_settle_seconds)
        state, attempt, since = state_of.get(day, (State.UNDISCOVERED, 0, now))
        if state is State.UNDISCOVERED:
            pinned = {"source_files": tuple(names), "file_hash": fingerprint}
            result.changes.append(
                Change(
                    domain.name,
                    day,
                    State.UNDISCOVERED,
                    Event.FILES_FOUND,
                    set=pinned,
                    detail={"files": len(names)},
                )
            )
            result.changed[day] = list(files)
            state = State.PENDING
        elif state is State.DONE and rows[day].file_hash != fingerprint:
            if not settled:
                result.unsettled.add(day)
                continue
            result.changes.append(
                Change(domain.name, day, State.DONE, Event.FILES_CHANGED, detail={"files": len(names)})
            )
            result.changed[day] = list(files)
            state, since = State.LATE, now
        if state in WAITING and now >= ready_at(day, settings) and settled and day not in claimed:
            urgent = _is_urgent(day, state, now)
            if state is State.LATE:
                result.changes.append(Change(domain.name, day, State.LATE, Event.QUEUED))
            result.queue.append(Ready(day, state, fingerprint, attempt, since, urgent))
    result.queue.sort(key=lambda ready: (not ready.urgent, ready.day))
    return result


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
