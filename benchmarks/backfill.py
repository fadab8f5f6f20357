"""The case `backfill`: what one more date costs a run that processes many, on Sail and on Spark.

A figure is that of one date: the run of all of them less a run of a single one, so that neither the process's start
nor the engine's first date is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from benchmarks.day.bronze import write_day
from benchmarks.frame import Case, Contestant
from benchmarks.run_of_dates import Services, linked
from benchmarks.usage import Usage
from infra.embedded.services.spark.connect import Engine, SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings

EVENTS = 20_000
DATES = 30
FIRST_DATE = date(2026, 10, 1)
ENGINES: dict[Engine, str] = {"sail": "Sail", "spark": "Spark"}


@contextmanager
def prepared(folder: Path, events: int | None, dates: int = DATES) -> Iterator[Case]:
    """Make a lake of all dates, start the engines and a warehouse, and offer a contestant for each engine.

    Args:
        folder: Gets the lake and the services' files.
        events: Events of each date.
        dates: Dates of the long run.
    """
    events = events or EVENTS
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    source = folder / "source"
    lake = Lake(Settings(lake_uri=str(source)))  # type: ignore[call-arg]
    days = [FIRST_DATE + timedelta(days=number) for number in range(dates + 1)]
    files = [write_day(lake, domain, day, events) for day in days]
    with (
        SparkConnect(folder / "sail", engine="sail") as sail,
        SparkConnect(folder / "spark", engine="spark") as spark,
        WarehouseService(folder / "warehouse") as warehouse,
    ):
        engines = {"sail": sail, "spark": spark}
        for engine in ENGINES:  # an engine's first date costs the start of its JVM, and compilation
            linked(source, folder / f"{engine}-warm-up" / "lake")
            Services(engines[engine], warehouse).run_of_dates(folder / f"{engine}-warm-up", days[:1])
        yield Case(
            name="backfill",
            title=f"One more date in a backfill of {dates}",
            size=f"{events:,} events in {sum(files) // len(files):,} files",
            contestants=[
                Contestant(name, partial(_one_more, Services(engines[engine], warehouse), source, days))
                for engine, name in ENGINES.items()
            ],
            units=events,
            unit="events",
        )


def _one_more(services: Services, source: Path, days: list[date], folder: Path) -> Usage:
    linked(source, folder / "lake")
    single, many = services.run_of_dates(folder, days[:1]), services.run_of_dates(folder, days[1:])
    more = len(days) - 2
    return Usage(
        (many.cpu_seconds - single.cpu_seconds) / more,
        (many.wall_seconds - single.wall_seconds) / more,
        max(many.peak_bytes, single.peak_bytes),
    )
