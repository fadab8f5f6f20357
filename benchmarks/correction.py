"""The case `correction`: one small file that comes late to a full day, beside the day itself; on Sail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.day.bronze import write_day
from benchmarks.frame import Case, Contestant
from benchmarks.run_of_dates import Services, linked
from benchmarks.usage import Usage
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, Settings

EVENTS = 860_000
DAY = date(2026, 11, 20)


@contextmanager
def prepared(folder: Path, events: int | None) -> Iterator[Case]:
    """Make the day, keep its last file back, start Sail and a warehouse, and offer the contestants.

    Args:
        folder: Gets the lake and the services' files.
        events: Events of the day.
    """
    events = events or EVENTS
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    source = folder / "source"
    lake = Lake(Settings(lake_uri=str(source)))  # type: ignore[call-arg]
    files = write_day(lake, domain, DAY, events)
    last = max(file.name for file in lake.list_date(domain, DAY))
    late = (source / last).rename(folder / "late.parquet")
    with SparkConnect(folder / "sail", engine="sail") as engine, WarehouseService(folder / "warehouse") as warehouse:
        services = Services(engine, warehouse)
        yield Case(
            name="correction",
            title="A small file that comes late to a full day, from claim to DONE on Sail",
            size=f"{events:,} events in {files - 1:,} files, and one more",
            contestants=[
                Contestant("full day", partial(_full_day, services, source)),
                Contestant("correction", partial(_correction, services, source, late, last)),
            ],
        )


def _full_day(services: Services, source: Path, folder: Path) -> Usage:
    linked(source, folder / "lake")
    return services.run_of_dates(folder, [DAY])


def _correction(services: Services, source: Path, late: Path, name: str, folder: Path) -> Usage:
    """Process the day, let the file come and discovery see it, and measure the run that follows."""
    _full_day(services, source, folder)
    (folder / "lake" / name).hardlink_to(late)
    partitions = DeltaPartitionMeta(Lake(Settings(lake_uri=str(folder / "lake"))))  # type: ignore[call-arg]
    late_and_queued = ((State.DONE, Event.FILES_CHANGED), (State.LATE, Event.QUEUED))
    partitions.apply([Change("events", DAY, state, event) for state, event in late_and_queued])
    return services.run_of_dates(folder, [DAY], queued=True)
