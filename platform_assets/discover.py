"""One tick for one domain: scan Bronze, store the transitions, return the runs to launch.

The sensor and the 06:00 schedule both call `tick`; what must change is decided by `platform_core.discovery`.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg

from platform_assets.pipeline import DISCOVERED_TAG, bronze_key, is_running, job_name, silver_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_core import discovery
from platform_core.catalog import Domain
from platform_core.clock import SystemClock
from platform_core.discovery import Ready
from platform_core.fingerprint import file_hash
from platform_core.lake import BronzeFile
from platform_core.partition_meta import StateConflictError
from platform_core.settings import settings

log = logging.getLogger(__name__)

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"


@dataclass(frozen=True)
class Tick:
    """What a tick found.

    Attributes:
        run_requests: Runs to launch.
        bronze: Dates whose Bronze is new or changed, as events for the catalog.
        summary: One line for the tick's log.
    """

    run_requests: list[dg.RunRequest]
    bronze: list[dg.AssetMaterialization]
    summary: str


def tick(domain: Domain, store: MetadataStore, instance: dg.DagsterInstance) -> Tick:
    """Scan one domain, store what changed and return what must run.

    Args:
        domain: The domain.
        store: The lake and partition_meta.
        instance: Tells which runs are alive.
    """
    partitions = store.partitions()
    plan = discovery.plan(
        domain,
        store.lake().list_bronze(domain),
        partitions.rows(domain.name),
        SystemClock().now(),
        settings(),
        lambda run_id: is_running(instance, run_id),
        claimed=_claimed(domain, instance),
    )
    try:
        partitions.apply(plan.changes)
    except StateConflictError as conflict:
        # A run or an operator was faster. Nothing was stored; the next tick sees the new state.
        return Tick([], [], f"retry next tick: {conflict}")
    requests = [_request(domain, chunk, instance) for chunk in discovery.chunks(plan.queue, settings().run_max_dates)]
    events = [_materialization(domain, day, files) for day, files in plan.changed.items()]
    waiting = ", ".join(f"{item.day} {item.reason}" for item in plan.queue)
    return Tick(requests, events, f"{len(plan.changes)} transitions; to run: {waiting or 'nothing'}")


def _claimed(domain: Domain, instance: dg.DagsterInstance) -> frozenset[date]:
    """Dates for which a run of this domain is queued or running already."""
    days: set[date] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        ours = run.job_name == job_name(domain) or silver_key(domain) in (run.asset_selection or ())
        if not ours:
            continue
        if PARTITION in run.tags:
            days.add(date.fromisoformat(run.tags[PARTITION]))
        elif RANGE_START in run.tags:
            day, end = (date.fromisoformat(run.tags[tag]) for tag in (RANGE_START, RANGE_END))
            while day <= end:
                days.add(day)
                day += timedelta(days=1)
    return frozenset(days)


def _request(domain: Domain, chunk: list[Ready], instance: dg.DagsterInstance) -> dg.RunRequest:
    """Return the run of consecutive dates.

    A run key is used once for ever, so it carries what makes this run needed: the content (fingerprint), the
    attempt, and the moment the state was entered. A run that ended without claiming its dates left the state as it
    was; the count of such runs makes the next key new.
    """
    first, last = chunk[0].day.isoformat(), chunk[-1].day.isoformat()
    what = "|".join(f"{r.day}:{r.fingerprint}:{r.attempt}:{r.since}" for r in chunk)
    need = f"{domain.name}:{first}:{last}:{hashlib.md5(what.encode(), usedforsecurity=False).hexdigest()}"
    before = instance.get_runs_count(dg.RunsFilter(tags={"pdp/need": need}))
    tags = {
        DISCOVERED_TAG: "true",
        "pdp/need": need,
        "pdp/reason": ",".join(sorted({r.reason.value for r in chunk})),
        "pdp/fingerprint": chunk[0].fingerprint if len(chunk) == 1 else need.rpartition(":")[2],
        "pdp/attempt": str(max(r.attempt for r in chunk)),
    }
    key = f"{need}#{before}"
    if len(chunk) == 1:
        return dg.RunRequest(run_key=key, partition_key=first, tags=tags)
    return dg.RunRequest(run_key=key, tags={**tags, RANGE_START: first, RANGE_END: last})


def _materialization(domain: Domain, day: date, files: list[BronzeFile]) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=bronze_key(domain),
        partition=day.isoformat(),
        metadata={
            "files": len(files),
            "bytes": sum(f.size for f in files),
            "newest_file": max(f.modified_at for f in files).isoformat(),
        },
        tags={"dagster/data_version": file_hash(f.name for f in files)},
    )
