"""The case `day`: its data, its engines and its contestants."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.day.bronze import write_day
from benchmarks.day.equality import differences
from benchmarks.frame import Case, Contestant
from benchmarks.usage import Usage, of_program
from infra.embedded.services.spark.connect import Engine, SparkConnect
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings

EVENTS = 860_000
"""Clickstream events of a day in production."""

DAY = date(2026, 11, 20)
WARM_UPS = 1
"""Dates that an engine has processed before it is measured as warm."""

JOBS = (sys.executable, "-m", "benchmarks.day.platform_jobs", DAY.isoformat())


@contextmanager
def prepared(
    folder: Path, events: int | None, engines: Sequence[Engine] = ("sail", "spark"), seconds_a_file: int = 60
) -> Iterator[Case]:
    """Make a day of Bronze, start the engines, and offer the contestants.

    Args:
        folder: Gets Bronze and the engines' files.
        events: Events of the day.
        engines: Which take part; Spark does so warm and cold.
        seconds_a_file: How often the sink flushed.
    """
    events = events or EVENTS
    lake = Lake(Settings(lake_uri=str(folder / "lake")))  # type: ignore[call-arg]
    files = write_day(
        lake, load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"], DAY, events, seconds_a_file
    )
    bronze = Path(lake.uri("bronze"))
    contestants = [
        Contestant("DuckDB", partial(_in_lake, bronze, partial(_peer, "duckdb_peer")), is_ours=False),
        Contestant("Polars", partial(_in_lake, bronze, partial(_peer, "polars_peer")), is_ours=False),
    ]
    with ExitStack() as services:
        for engine in engines:
            service = services.enter_context(SparkConnect(folder / engine, engine=engine))
            warm = partial(_in_lake, bronze, partial(_jobs, service))
            for number in range(WARM_UPS):
                warm(folder / f"{engine}-warm-up-{number}")
            if engine == "spark":
                contestants.append(Contestant("Spark, cold", partial(_in_lake, bronze, _cold_spark)))
            contestants.append(Contestant("Sail" if engine == "sail" else "Spark, warm", warm))
        yield Case(
            name="day" if "spark" in engines else "day-sail",
            title="One day of events, Bronze → Silver → Gold",
            size=f"{events:,} events in {files:,} files",
            contestants=contestants,
            units=events,
            unit="events",
            differences=lambda one, other: differences(one / "lake", other / "lake", DAY),
        )


def _in_lake(bronze: Path, work: Callable[[Path], Usage], folder: Path) -> Usage:
    """Do the work in a lake of its own over the one Bronze."""
    lake = folder / "lake"
    lake.mkdir(parents=True)
    (lake / "bronze").symlink_to(bronze)
    return work(lake)


def _peer(module: str, lake: Path) -> Usage:
    program = (sys.executable, "-m", f"benchmarks.day.{module}", str(lake), DAY.isoformat())
    return of_program(program, lake.with_name("log"), {})


def _jobs(service: SparkConnect, lake: Path) -> Usage:
    assert service.pid is not None
    return of_program(JOBS, lake.with_name("log"), {"LAKE_URI": str(lake), **service.env()}, [service.pid])


def _cold_spark(lake: Path) -> Usage:
    return of_program((*JOBS, "--engine", "spark"), lake.with_name("log"), {"LAKE_URI": str(lake)})
