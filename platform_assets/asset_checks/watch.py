"""The checks `fresh` and `no_dead_partition`: does a domain deliver in time, and does a date wait for a person.

A person runs them from the UI, and the sensor `watch` evaluates the same function. What is late belongs to
`platform_core.partitions.freshness`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import dagster as dg

from platform_assets.asset_checks.reported_check import ReportedCheck
from platform_assets.assets.keys import warehouse_key
from platform_assets.resources.metadata_store import MetadataStore
from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.partitions.freshness import freshness
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

WATCH_CHECKS = {
    "fresh": "The newest date whose SLA deadline has passed is DONE",
    "no_dead_partition": "No date of the domain waits DEAD for a person",
}

SHOWN_DATES = 50


def evaluate(domain: Domain, rows: Iterable[Partition], now: datetime) -> list[ReportedCheck]:
    """Evaluate the domain's watch checks.

    Args:
        rows: Rows of partition_meta, of this domain or of all.
        now: The moment to judge, with a time zone.
    """
    rows = [row for row in rows if row.domain == domain.name]
    return [_fresh(domain, rows, now), _no_dead_partition(domain, rows)]


def watch_checks(domain: Domain) -> dg.AssetChecksDefinition:
    """Return the domain's watch checks, to be run from the UI; they block nothing."""
    specs = [
        dg.AssetCheckSpec(name, asset=warehouse_key(domain), description=text) for name, text in WATCH_CHECKS.items()
    ]

    @dg.multi_asset_check(name=f"watch_{domain.name}", specs=specs, can_subset=True)
    def watch(context: dg.AssetCheckExecutionContext, metadata_store: MetadataStore) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.selected_asset_check_keys}
        rows = metadata_store.partitions().rows(domain.name)
        for outcome in evaluate(domain, rows, SystemClock().now()):
            if outcome.name in selected:
                yield outcome.result()

    return watch


def _fresh(domain: Domain, rows: Sequence[Partition], now: datetime) -> ReportedCheck:
    newest_due = freshness(domain, rows, now)
    facts = {
        "due": str(newest_due.due or "nothing yet"),
        "deadline": newest_due.deadline.isoformat() if newest_due.deadline else "none",
        "late_minutes": round(newest_due.late_by.total_seconds() / 60, 1),
        "newest_done": str(newest_due.newest_done or "none"),
    }
    if newest_due.due is None:
        text = "Nothing is due yet."
    elif newest_due.delivered:
        text = f"{newest_due.due} was delivered."
    else:
        text = f"{newest_due.due} was due at {newest_due.deadline:%Y-%m-%d %H:%M} UTC and is not DONE."
    return ReportedCheck(warehouse_key(domain), "fresh", newest_due.fresh, text, facts, _last_loaded(rows))


def _no_dead_partition(domain: Domain, rows: Sequence[Partition]) -> ReportedCheck:
    dead = sorted(row.partition_date for row in rows if row.status is State.DEAD)
    shown = [day.isoformat() for day in dead[:SHOWN_DATES]]
    text = f"{counted(len(dead), 'date')} DEAD: `pdp partitions revive {domain.name}`." if dead else "None is DEAD."
    return ReportedCheck(
        warehouse_key(domain),
        "no_dead_partition",
        not dead,
        text,
        {"dead": len(dead), "dates": ", ".join(shown) or "none"},
        _last_loaded(rows),
    )


def _last_loaded(rows: Sequence[Partition]) -> str:
    """Return when the domain's last date was loaded: after each load its checks are reported again."""
    loaded = [row.processed_at for row in rows if row.processed_at is not None]
    return max(loaded).isoformat() if loaded else ""
