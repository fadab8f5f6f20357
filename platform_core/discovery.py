"""Discovery: compares Bronze with partition_meta and says what must change and what must run.

The decision is a pure function, so that every case is a unit test; listing Bronze, storing the changes and
launching runs belong to the caller. Design: late data is found by content, whatever its age.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from platform_core.catalog import Domain
from platform_core.fingerprint import file_hash
from platform_core.lake import BronzeFile
from platform_core.partition_meta import Change, Partition
from platform_core.partition_state import Event, State
from platform_core.settings import Settings


@dataclass(frozen=True)
class Ready:
    """A date that must run.

    Attributes:
        day: The date.
        reason: The state that brought it here: PENDING, LATE, RETRYING or REPROCESSING.
        fingerprint: md5 of the Bronze files seen by this tick.
        attempt: Retries so far.
        since: When the row last changed; makes the run's key new for each stay in a state.
    """

    day: date
    reason: State
    fingerprint: str
    attempt: int
    since: datetime | None


@dataclass
class Plan:
    """What one tick decides for one domain.

    Attributes:
        changes: Transitions to make before runs are launched.
        queue: Dates to run, oldest first.
        changed: Dates whose Bronze content is new since the last tick that saw them, with their files.
    """

    changes: list[Change] = field(default_factory=list)
    queue: list[Ready] = field(default_factory=list)
    changed: dict[date, list[BronzeFile]] = field(default_factory=dict)


def ready_at(day: date, settings: Settings) -> datetime:
    """When a date may first be processed: some hours (6 by default) after it ends, UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC) + timedelta(hours=settings.partition_ready_hour_utc)


def retry_at(partition: Partition, settings: Settings) -> datetime:
    """When a FAILED date may be retried: the backoff doubles with each failed attempt."""
    seconds = settings.partition_retry_backoff_seconds * 2**partition.retry_count
    since = partition.updated_at or datetime.now(UTC)
    return since + timedelta(seconds=seconds)


def plan(
    domain: Domain,
    bronze: dict[date, list[BronzeFile]],
    partitions: Sequence[Partition],
    now: datetime,
    settings: Settings,
    is_running: Callable[[str], bool],
    claimed: frozenset[date] = frozenset(),
) -> Plan:
    """Decide what one tick must do.

    Args:
        domain: The domain.
        bronze: Its Bronze files by date.
        partitions: Its rows of partition_meta.
        now: The tick's time, UTC.
        settings: Readiness, settle interval and backoff.
        is_running: Whether the run with this id is queued or running.
        claimed: Dates for which a run is queued or running already.
    """
    result = Plan()
    rows = {row.partition_date: row for row in partitions}
    for day, files in bronze.items():
        names = [f.name for f in files]
        fingerprint = file_hash(names)
        row = rows.get(day)
        state = row.status if row else State.UNDISCOVERED
        retry_count = row.retry_count if row else 0
        settled = now - max(f.modified_at for f in files) >= timedelta(seconds=settings.partition_settle_seconds)
        since = row.updated_at if row else now

        if row is None:
            result.changes.append(
                Change(
                    domain.name,
                    day,
                    State.UNDISCOVERED,
                    Event.FILES_FOUND,
                    set={"source_files": tuple(names), "file_hash": fingerprint},
                    detail={"files": len(names)},
                )
            )
            result.changed[day] = files
            state = State.PENDING
        elif state is State.IN_FLIGHT and not (row.run_id and is_running(row.run_id)):
            result.changes.append(lost_run(row))
            continue  # its backoff begins now
        elif state is State.DONE and row.file_hash != fingerprint:
            if not settled:
                continue
            result.changes.append(
                Change(
                    domain.name,
                    day,
                    State.DONE,
                    Event.FILES_CHANGED,
                    detail={"files_before": row.file_hash, "files_now": fingerprint, "files": len(names)},
                )
            )
            result.changed[day] = files
            state, since = State.LATE, now
        elif state is State.FAILED:
            if retry_count >= domain.max_retries:
                result.changes.append(
                    Change(
                        domain.name,
                        day,
                        State.FAILED,
                        Event.RETRIES_EXHAUSTED,
                        detail={"retries": retry_count, "cause": row.error_message},
                    )
                )
                continue
            if now < retry_at(row, settings):
                continue
            retry_count += 1
            result.changes.append(Change(domain.name, day, State.FAILED, Event.RETRY, set={"retry_count": retry_count}))
            state, since = State.RETRYING, now

        due = now >= ready_at(day, settings) and settled and day not in claimed
        if due and state in (State.PENDING, State.LATE, State.RETRYING, State.REPROCESSING):
            if state is State.LATE:
                result.changes.append(Change(domain.name, day, State.LATE, Event.QUEUED))
            result.queue.append(Ready(day, state, fingerprint, retry_count, since))
    result.queue.sort(key=lambda r: r.day)
    return result


def lost_run(row: Partition) -> Change:
    """Return the change that frees a partition whose run is over without having reported."""
    return Change(
        row.domain,
        row.partition_date,
        State.IN_FLIGHT,
        Event.RUN_FAILED,
        run_id=row.run_id,
        set={
            "error_message": f"Run {row.run_id} ended without reporting (killed, out of memory, or cancelled).",
        },
        detail={"cause": "run lost"},
    )


def chunks(queue: Sequence[Ready], size: int) -> list[list[Ready]]:
    """Split a queue into runs: consecutive dates, at most `size` each, oldest first."""
    result: list[list[Ready]] = []
    for item in queue:
        if result and len(result[-1]) < size and result[-1][-1].day + timedelta(days=1) == item.day:
            result[-1].append(item)
        else:
            result.append([item])
    return result
