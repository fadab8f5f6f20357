"""The case `history`: what a small date costs when the tables have 10 dates, and when they have 1,000."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from benchmarks.day.bronze import write_day
from benchmarks.day.equality import TABLES, differences
from benchmarks.frame import Case, Contestant
from benchmarks.history.age import age
from benchmarks.run_of_dates import Services, linked
from benchmarks.usage import Usage
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings

EVENTS = 3_000
DATES = (10, 1_000)
DAY = date(2026, 11, 20)
DAY_BEFORE = DAY - timedelta(days=1)


@contextmanager
def prepared(folder: Path, events: int | None, dates: tuple[int, ...] = DATES) -> Iterator[Case]:
    """Make a lake of each age, start Sail and a warehouse, and offer a contestant for each age.

    Args:
        folder: Gets the lakes and the services' files.
        events: Events of the date.
        dates: The ages; the first is the peer.
    """
    events = events or EVENTS
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    with SparkConnect(folder / "sail", engine="sail") as engine, WarehouseService(folder / "warehouse") as warehouse:
        services = Services(engine, warehouse)
        young = folder / "young" / "lake"
        lake = Lake(Settings(lake_uri=str(young)))  # type: ignore[call-arg]
        for day in (DAY_BEFORE, DAY):
            files = write_day(lake, domain, day, events)
        services.run_of_dates(young.parent, [DAY_BEFORE])
        contestants = []
        for number in dates:
            aged = folder / f"{number}-dates"
            linked(young, aged)
            for table in TABLES:
                age(aged / table, domain.partition_key, number)
            contestants.append(Contestant(f"{number:,} dates", partial(_in_copy, aged, services)))
        yield Case(
            name="history",
            title="One small date from claim to DONE, on Sail",
            size=f"{events:,} events in {files:,} files",
            contestants=contestants,
            differences=lambda one, other: differences(one / "lake", other / "lake", DAY),
        )


def _in_copy(aged: Path, services: Services, folder: Path) -> Usage:
    """Process the date in a copy of an aged lake."""
    linked(aged, folder / "lake")
    return services.run_of_dates(folder, [DAY])
