"""What happens to a platform in three years: days as they are lived, and the years between two of them.

The first week and the last days are lived: files, ticks, runs, corrections, alerts, a night of maintenance. Of the
years between, each date has in every table, in partition_meta and in Dagster's storage what a run of the first week
left: the platform's own ledgers are written by the platform, commits of runs and Dagster's rows are copies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from itertools import groupby, product
from pathlib import Path

from benchmarks.history.age import age
from benchmarks.years.dagster_past import repeat_runs
from benchmarks.years.platform import LATE_RECORDS, RECORDS, YearsPlatform, days_from
from benchmarks.years.stopped_clock import StoppedClock
from maintenance.delta_table import maintain
from platform_core.domain.catalog import Domain
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.contended_table import KEEP_FILES_HOURS
from platform_core.lake.corrections import Correction, CorrectionLedger, correction_id
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State

WEEK = 7
LAST_DAYS = 3
"""Days that are lived before it is measured: enough that there are corrections and nights."""

LONG_AGO = timedelta(days=200)
"""How old what was made of the years between becomes: older than everything that the platform keeps for a time."""

MAINTAINED_EVERY = 25 * WEEK
_REMOVED_AT = re.compile(rb'"deletionTimestamp":(\d+)')


def live(platform: YearsPlatform, days: Sequence[date]) -> None:
    """Let days pass: each domain's date, a late file for the date before in one domain, an alert, and a night."""
    names = platform.catalog.names
    for number, day in enumerate(days):
        for name in names:
            platform.process(name, day)
        if number:
            platform.process(names[number % len(names)], day - timedelta(days=1), RECORDS, LATE_RECORDS)
        _alert(platform, day)
    platform.maintain()


def let_years_pass(platform: YearsPlatform, first: date, dates: int) -> None:
    """Give every domain so many more dates, and the ledgers what comes with them.

    Args:
        first: The first of them, the one after a date that was lived.
        dates: How many.
    """
    days = days_from(first, dates)
    before = first - timedelta(days=1)
    for domain in platform.catalog:
        _bronze(platform, domain, before, days)
        for name in _tables(platform, domain):
            age(Path(platform.lake.uri(name)), domain.partition_key, dates, first)
        _states(platform, domain, days)
    for start in range(0, dates, WEEK):
        _alert(platform, *days[start : start + WEEK])
        for number, name in enumerate(platform.catalog.names[: dates - start]):
            _correct(platform, name, days[start + number])
        if start % MAINTAINED_EVERY == 0:
            _grow_old(platform)
    repeat_runs(platform.home, before, days)
    _grow_old(platform)
    # The log was shortened behind what maintenance remembers of the tables, and it would take them for unchanged.
    shutil.rmtree(platform.lake.uri(platform.lake.maintenance))


def let_reprocess(platform: YearsPlatform, days: Sequence[date], reprocesses: int) -> None:
    """Note reprocesses of these dates until there are so many.

    Args:
        reprocesses: At most as many as the dates that the domains have together.
    """
    ledger = CorrectionLedger(platform.lake)
    for day, name in product(days, platform.catalog.names):
        if len({line.correction_id for line in ledger.read()}) >= reprocesses:
            return
        _correct(platform, name, day)


def _tables(platform: YearsPlatform, domain: Domain) -> list[str]:
    lake = platform.lake
    gold = [lake.gold(domain, table) for table in domain.gold.tables]
    return [lake.silver(domain), lake.quarantine(domain), *gold]


def _bronze(platform: YearsPlatform, domain: Domain, before: date, days: Sequence[date]) -> None:
    template = Path(platform.lake.uri(platform.lake.list_date(domain, before)[0].name))
    for day in days:
        folder = Path(platform.lake.uri(platform.lake.bronze_partition(domain, day)))
        folder.mkdir()
        os.link(template, folder / template.name.replace(f"{before:%Y%m%d}", f"{day:%Y%m%d}"))


def _states(platform: YearsPlatform, domain: Domain, days: Sequence[date]) -> None:
    """Make every date DONE, a month a commit."""
    for _, month in groupby(days, lambda day: (day.year, day.month)):
        changes = []
        for day in month:
            files = tuple(file.name for file in platform.lake.list_date(domain, day))
            run_id, at = f"{domain.name}-{day}", datetime.combine(day, time_of_day(6), UTC)
            pinned = {"source_files": files, "file_hash": file_hash(files), "run_id": run_id}
            done = {"processed_at": at, "record_count": RECORDS, "silver_records": RECORDS, "gold_records": 3}
            changes += [
                Change(domain.name, day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned),
                Change(domain.name, day, State.PENDING, Event.RUN_STARTED, run_id=run_id, detail={"files": 1}),
                Change(domain.name, day, State.IN_FLIGHT, Event.SUCCEEDED, run_id=run_id, set=done),
            ]
        DeltaPartitionMeta(platform.lake, StoppedClock(at)).apply(changes)


def _alert(platform: YearsPlatform, *days: date) -> None:
    """Raise an alert for each of some days in one commit, and deliver the last one."""
    at = datetime.combine(days[-1], time_of_day(6, 30), UTC)
    kind, what = AlertKind.SLA_MISSED, "It is not delivered, and its deadline has passed."
    alerts = [Alert(f"{kind}/orders/{day}", kind, "orders", day, what, "orders", "pdp partitions", at) for day in days]
    log = AlertLog(platform.lake, StoppedClock(at))
    log.new(alerts)
    log.delivered(alerts[-1].key, "kafka")


def _correct(platform: YearsPlatform, name: str, day: date) -> None:
    at = datetime.combine(day, time_of_day(9), UTC)
    table = next(iter(platform.catalog[name].gold.tables))
    lines = [
        Correction(
            correction_id(name, day, at),
            name,
            day,
            at,
            f"{name}-{day}",
            "late files",
            1,
            0,
            LATE_RECORDS,
            table,
            "updated",
            json.dumps({"city": city}),
            json.dumps({"rows": 6}),
            json.dumps({"rows": 7}),
        )
        for city in ("Berlin", "Paris", "Rome")
    ]
    CorrectionLedger(platform.lake).record(lines)


def _grow_old(platform: YearsPlatform) -> None:
    """Make everything in the tables older than what is kept for a time, and let maintenance find it so."""
    lake = platform.lake
    then = time.time() - LONG_AGO.total_seconds()
    of_domains = [name for domain in platform.catalog for name in _tables(platform, domain)]
    itself = [lake.partition_meta, lake.partition_history]
    for name in [*of_domains, *itself, lake.corrections, lake.alerts]:
        root = Path(lake.uri(name))
        for log in (root / "_delta_log").glob("*.json"):
            data = log.read_bytes()
            if _REMOVED_AT.search(data):
                log.write_bytes(_REMOVED_AT.sub(b'"deletionTimestamp":%d' % round(then * 1000), data))
        for path in root.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))
        if name in itself:
            # What `ContendedTable.tidy` does of itself a day later.
            table = lake.delta(name)
            table.create_checkpoint()
            table.vacuum(KEEP_FILES_HOURS, dry_run=False, enforce_retention_duration=False, full=True)
            lake.delta(name).cleanup_metadata()
        else:
            maintain(lake, name, timedelta(0))
