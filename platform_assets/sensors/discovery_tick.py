"""One tick of discovery for one domain: list Bronze, store the transitions, return the runs to launch.

The sensor and the 06:00 schedule both call `tick`. Which dates are listed is decided by
`platform_core.partitions.listing`, what changes and what runs by `platform_core.partitions.plan`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

import dagster as dg

from alerting.collect import missing_files_alert, unreadable_note_alert
from platform_assets.assets.bronze import BronzeEvent, bronze_events
from platform_assets.assets.keys import silver_key
from platform_assets.jobs import RANGE_END, RANGE_START, REASON_TAG, days_of, is_running, job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.clock import Clock, SystemClock, seconds_since
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.mount import require_marked
from platform_core.lake.store_clock import by_our_clock
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import DiscoveryCursor, list_bronze, to_relist
from platform_core.partitions.partition_meta import Change, Partition, StateConflictError
from platform_core.partitions.partition_state import Event, State
from platform_core.partitions.plan import Ready, chunks, expired_leases, failed_by_our_clock, plan, waiting
from platform_core.settings import Settings

if TYPE_CHECKING:
    from platform_kafka.announcements import Announcements

log = logging.getLogger(__name__)

FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]
RUN_KEY = "dagster/run_key"

AGAIN_AFTER = timedelta(seconds=30)
AGAIN_AT_LEAST_EVERY = timedelta(minutes=15)
"""The pause after a run that claimed none of its dates doubles between these."""

DELTA_FILES = 500
"""A late delta is counted in records, by footers, up to so many new files: 500 take about 0.2 s on a local disk."""


IDLE_LEASES = 4
"""A started run that holds no date for so many leases, six minutes, is gone: to its first claim it takes two at most,
and a process that is slower still ends itself, since it is over for the orchestrator."""

GONE_DATES = 10
"""Dates without a folder that a tick looks at, the newest first: each costs a read, and a person must act anyway."""


@dataclass(frozen=True)
class Tick:
    """What a tick did.

    Attributes:
        run_requests: Runs to launch.
        bronze: Dates whose Bronze is new or changed, as events for the catalog.
        summary: One line for the tick's log.
        cursor: Where the next tick goes on; None when this one changed nothing and must be repeated.
        quiet_in: Seconds until the first date that waits for nothing but quiet has had it; None if none waits.
    """

    run_requests: list[dg.RunRequest]
    bronze: list[BronzeEvent]
    summary: str
    cursor: DiscoveryCursor | None
    quiet_in: float | None = None


def tick(
    domain: Domain,
    store: MetadataStore,
    instance: dg.DagsterInstance,
    cursor: DiscoveryCursor,
    settings: Settings,
    ledger: Announcements | None = None,
    clock: Clock | None = None,
) -> Tick:
    """List a domain's Bronze, store what changed and return what must run.

    Args:
        store: The lake and partition_meta.
        instance: Tells which runs are alive.
        cursor: Where the tick before this one ended.
        settings: When a date is due, and how much a tick may list.
        ledger: Says which dates the sink wrote to; without it only waiting and new dates and the slice are listed.
        clock: The one that looks, this host's by default.

    Raises:
        LakeNotMountedError: the lake was there at an earlier tick, and is not.
    """
    clock = clock or SystemClock()
    partitions, lake, now, seconds = store.partitions(), store.lake(), clock.now(), clock.seconds()
    lake_seen = require_marked(lake, cursor.lake_seen)
    news = ledger.since(cursor.ledger) if ledger else None
    announced = cursor.relist | {day for name, day in (news.dates if news else ()) if name == domain.name}
    # Whole rows are read of dates that a tick decides about: the states of all are two short columns.
    snapshot = partitions.snapshot()
    # Dates before the domain's start concern only themselves: no partition of Dagster stands for them.
    states = {day: state for (_, day), state in snapshot.states(domain.name).items() if day >= domain.start_date}
    stored = snapshot.rows(domain.name, [day for day, state in states.items() if state is not State.DONE])
    sightings = cursor.sighted(stored, seconds, seconds_since())
    expired = expired_leases(stored, sightings, seconds, settings)
    present = [day for day in lake.list_dates(domain) if day >= domain.start_date]
    rows = {row.partition_date: failed_by_our_clock(row, sightings, now, seconds) for row in stored}
    active = _unfinished(domain, instance)
    idle = _idle(active, stored, cursor.idle if seconds_since() == cursor.sighted_since else {}, seconds)
    limit = IDLE_LEASES * settings.partition_lease_seconds
    lost = {run_id for run_id, since in idle.items() if seconds - since > limit}
    lost |= {str(rows[day].run_id) for day in expired}
    _end_lost_runs(instance, lost)

    def read(days: Iterable[date]) -> None:
        more = [day for day in days if states.get(day) is State.DONE and day not in rows]
        rows.update((row.partition_date, row) for row in snapshot.rows(domain.name, more))

    alive = [run for run in active if run.run_id not in lost]
    read({day for run in alive for day in days_of(run)})
    claimed = _claimed(alive, rows)
    listing = list_bronze(
        lambda day: lake.list_date(domain, day),
        present,
        states.keys(),
        waiting(domain, rows, now, settings, claimed),
        announced,
        cursor.swept,
        settings.discovery_scan_files,
    )
    # A date without a folder is not listed, and has lost all its files if it had any.
    without_folder = states.keys() - set(present)
    read([*listing.bronze, *without_folder])
    gone = sorted((day for day in without_folder if rows[day].file_hash), reverse=True)[:GONE_DATES]
    before = dict(rows)

    @cache  # read when somebody asks, and once a tick
    def pinned(day: date) -> frozenset[str]:
        row = partitions.get(domain.name, day)
        # A run that has claimed the date since may have pinned files that came after the listing.
        same = row is not None and row.file_hash == before[day].file_hash
        return frozenset(row.source_files if row and same else ())

    decided = plan(
        domain,
        {**dict.fromkeys(gone, ()), **by_our_clock(lake, domain.name, listing.bronze, clock)},
        list(before.values()),
        now,
        settings,
        lambda run_id: is_running(instance, run_id),
        claimed,
        pinned,
        expired,
    )
    alerts = [
        missing_files_alert(domain.name, day, files, now, settings.ui_url) for day, files in decided.missing.items()
    ]
    alerts += [
        unreadable_note_alert(domain.name, day, error.message, now, settings.ui_url)
        for day, error in listing.unclear.items()
    ]
    try:
        AlertLog(lake).new(alerts)
        after = partitions.apply([_with_delta(change, decided.changed, pinned, lake) for change in decided.changes])
    except StateConflictError as conflict:
        # A run or an operator was faster. Nothing was stored; the next tick sees the new state.
        return Tick([], [], f"retry next tick: {conflict}", None)
    rows |= {row.partition_date: row for row in after}
    requests = [_request(domain, chunk, rows, instance, now) for chunk in chunks(decided.queue, settings.run_max_dates)]
    events = [event for day, files in decided.changed.items() for event in _events(domain, day, files)]
    queued = ", ".join(f"{item.day} {item.reason}" for item in decided.queue)
    return Tick(
        [request for request in requests if request is not None],
        events,
        f"{counted(listing.files, 'file')} of {counted(len(listing.bronze), 'date')} listed;"
        f" {counted(len(decided.changes), 'transition')};"
        f" to run: {queued or 'nothing'}",
        DiscoveryCursor(
            news.position if news else cursor.ledger,
            to_relist(listing, announced, rows, decided.unsettled),
            listing.swept,
            sightings,
            seconds_since(),
            idle,
            lake_seen,
        ),
        decided.quiet_in,
    )


def _with_delta(
    change: Change, changed: dict[date, list[BronzeFile]], pinned: Callable[[date], frozenset[str]], lake: Lake
) -> Change:
    """Add to a date that became LATE how its files differ from those that it was processed with.

    The new records are counted by footers, unless there are very many files.
    """
    if change.event is not Event.FILES_CHANGED:
        return change
    new = {file.name for file in changed[change.day]} - pinned(change.day)
    delta = {"new_files": len(new)}
    try:
        if len(new) <= DELTA_FILES:
            delta["new_records"] = lake.count_records(sorted(new))
    except TransientError as error:
        # A file that cannot be read must fail its date, not the discovery of all others.
        log.warning("late_delta_not_counted error=%s", error)
    log.info("late_data domain=%s date=%s %s", change.domain, change.day, delta)
    return replace(change, detail={**change.detail, **delta})


def _unfinished(domain: Domain, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Queued and running runs of this domain's dates."""
    return [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        if run.job_name == job_name(domain) or silver_key(domain) in (run.asset_selection or ())
    ]


def _idle(
    active: Iterable[dg.DagsterRun], rows: Iterable[Partition], before: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Return started runs that hold no date, with the second at which they were first seen so.

    They may have died before their first claim, or between two dates, with no lease to tell it.
    """
    holders = {row.run_id for row in rows if row.status is State.IN_FLIGHT}
    return {
        run.run_id: before.get(run.run_id, seconds)
        for run in active
        if run.status is dg.DagsterRunStatus.STARTED and run.run_id not in holders
    }


def _claimed(active: Iterable[dg.DagsterRun], rows: Mapping[date, Partition]) -> frozenset[date]:
    """Dates that a queued or running run of this domain is going to take, or holds.

    A run is through with a date that carries its id and is no longer IN_FLIGHT. It may be a run whose process is
    gone, which the orchestrator still calls started: its lease expired, and the date must not wait for it.
    """
    days: set[date] = set()
    for run in active:
        for day in days_of(run):
            row = rows.get(day)
            if row is None or row.run_id != run.run_id or row.status is State.IN_FLIGHT:
                days.add(day)
    return frozenset(days)


def _end_lost_runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Tell the orchestrator that runs are over whose leases expired, or that have not claimed a date for long.

    When the host of a run ends with it, nobody else does: the run stays started, and its domain's pool taken, for ever.
    """
    for run_id in run_ids:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(
                run,
                "It has not renewed its lease, or claimed no date: the process is gone or hangs. Its dates are tried"
                " again.",
            )


def _request(
    domain: Domain, chunk: list[Ready], rows: Mapping[date, Partition], instance: dg.DagsterInstance, now: datetime
) -> dg.RunRequest | None:
    """Return the run of consecutive dates; None while one that came to nothing a moment ago is not tried again yet.

    A run key is used once for ever, so it carries what makes this run needed: the attempt, and the moment the state was
    entered. A run that ended without claiming its dates left the state as it was, for example because the engine is
    down; the next one has the first key that no run has, and waits longer each time. Files that come meanwhile are no
    other need: a run takes those that it finds, and a date that trickles would be launched at each of them.
    """
    first, last = chunk[0].day.isoformat(), chunk[-1].day.isoformat()
    what = "|".join(f"{r.day}:{r.attempt}:{rows[r.day].updated_at}" for r in chunk)
    need = f"{domain.name}:{first}:{last}:{hashlib.md5(what.encode(), usedforsecurity=False).hexdigest()}"
    not_before = now
    for before in count():
        key = f"{need}#{before}"
        earlier = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY: key}), limit=1)
        if not earlier:
            break
        not_before = earlier[0].update_timestamp + min(AGAIN_AFTER * 2**before, AGAIN_AT_LEAST_EVERY)
    if now < not_before:
        return None
    tags = {REASON_TAG: ", ".join(sorted({ready.reason.value for ready in chunk}))}
    if attempt := max(ready.attempt for ready in chunk):
        tags["pdp/retry"] = str(attempt)
    if any(ready.urgent for ready in chunk):
        # The run queue launches the highest first: a correction does not wait behind a backfill of years.
        tags["dagster/priority"] = "10"
    if len(chunk) == 1:
        return dg.RunRequest(run_key=key, partition_key=first, tags=tags)
    return dg.RunRequest(run_key=key, tags={**tags, RANGE_START: first, RANGE_END: last})


def _events(domain: Domain, day: date, files: list[BronzeFile]) -> list[BronzeEvent]:
    facts = {
        "files": len(files),
        "bytes": sum(f.size for f in files),
        "newest_file": max(f.modified_at for f in files).isoformat(),
    }
    return bronze_events(domain, day, file_hash(f.name for f in files), facts)
