"""The case `years`: the first week and three years later, each measured in turn: a tick, a date, maintenance, commands.

The platforms are made once; what is measured changes them alike. Sizes are counted before that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.frame import Case, Contestant
from benchmarks.usage import Usage, of_call
from benchmarks.years.past import LAST_DAYS, WEEK, let_reprocess, let_years_pass, live
from benchmarks.years.platform import YearsPlatform, days_from, quiet
from benchmarks.years.size import sizes
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from pdp.commands.corrections import REPROCESSES_SHOWN
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import REPOSITORY

DATES = 3 * 365
LAST = date(2026, 11, 20)
"""The last date that is lived before anything is measured; those that are measured come after it."""

TICKS = 5
"""Of each domain in a turn: one takes 0.02 s, which an interruption changes by a fifth."""


@contextmanager
def prepared(folder: Path, dates: int | None) -> Iterator[Case]:
    """Let a platform have its first week, a copy of it three years, and offer both.

    Args:
        folder: Gets the platforms and the services' files.
        dates: How many dates of each domain the older one has.
    """
    dates = dates or DATES
    first = LAST - timedelta(days=dates - 1)
    with (
        SparkConnect(folder / "sail", engine="sail") as engine,
        WarehouseService(folder / "warehouse") as warehouse,
    ):
        services = {name: value for service in (engine, warehouse) for name, value in service.env().items()}
        pids = [service.pid for service in (engine, warehouse) if service.pid is not None]
        listed = load_catalog(REPOSITORY / "domains" / "domains.yaml")
        catalog = Catalog([domain.model_copy(update={"start_date": first}) for domain in listed])
        with quiet():
            young = YearsPlatform(folder / "first-week", catalog, services)
            live(young, days_from(first, WEEK))
            young.instance.dispose()
            shutil.copytree(folder / "first-week", folder / "three-years")
            old = YearsPlatform(folder / "three-years", catalog, services)
            let_years_pass(old, first + timedelta(days=WEEK), dates - WEEK - LAST_DAYS)
            live(old, days_from(LAST - timedelta(days=LAST_DAYS - 1), LAST_DAYS))
            young = YearsPlatform(folder / "first-week", catalog, services)
        amounts = list(sizes(young, WEEK, old, dates))
        # `pdp corrections` shows so many however long the history is; the first week alone has six.
        let_reprocess(young, days_from(first, WEEK), REPROCESSES_SHOWN)
        yield Case(
            name="years",
            title="What the platform costs after the first week, and after three years",
            size=f"{len(catalog)} domains × {dates:,} dates, small ones",
            contestants=list(_contestants(young, old, first, pids)),
            amounts=amounts,
        )


def _contestants(young: YearsPlatform, old: YearsPlatform, first: date, pids: list[int]) -> Iterator[Contestant]:
    last = {young: first + timedelta(days=WEEK - 1), old: LAST}
    for what, work in _work(last).items():
        for platform, age in ((young, "first week"), (old, "three years")):
            peer = f"{what}, first week"
            yield Contestant(f"{what}, {age}", partial(_measured, work, platform, pids), peer)


def _measured(work: Callable[[YearsPlatform], object], platform: YearsPlatform, pids: list[int], _: Path) -> Usage:
    with quiet(), platform.entered():
        return of_call(lambda: work(platform), pids)


def _work(last: dict[YearsPlatform, date]) -> dict[str, Callable[[YearsPlatform], object]]:
    """Return what is measured, by the name of it."""
    days = {platform: (day + timedelta(days=n) for n in count(1)) for platform, day in last.items()}

    def audited(platform: YearsPlatform) -> str:
        stages = (part for stage in ("silver", "gold", "warehouse") for part in ("--stage", stage))
        return platform.command("audit", "--domain", "events", "--date", last[platform].isoformat(), *stages)

    def listed(platform: YearsPlatform) -> str:
        newest = last[platform]
        chosen = ("--from", (newest - timedelta(days=WEEK - 1)).isoformat(), "--to", newest.isoformat())
        return platform.command("partitions", "list", *chosen)

    return {
        "tick": lambda platform: [platform.tick(name) for _ in range(TICKS) for name in platform.catalog.names],
        "one date": lambda platform: platform.process("events", next(days[platform])),
        # As many dates on either side: without a range the first week has seven of a domain to show, not fourteen.
        "pdp partitions list of a week": listed,
        "pdp partitions show": lambda platform: platform.command(
            "partitions", "show", "events", last[platform].isoformat()
        ),
        "pdp partitions history": lambda platform: platform.command(
            "partitions", "history", "events", last[platform].isoformat()
        ),
        "pdp quarantine list of a date": lambda platform: platform.command(
            "quarantine", "list", "events", last[platform].isoformat()
        ),
        "pdp audit of a date": audited,
        "pdp domains": lambda platform: platform.command("domains"),
        "pdp alerts": lambda platform: platform.command("alerts"),
        "pdp corrections": lambda platform: platform.command("corrections"),
        "maintenance": lambda platform: platform.maintain(),
    }
