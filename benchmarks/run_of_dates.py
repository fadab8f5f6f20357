"""Dates of events from claim to DONE, in a process of their own as a run has: `... run_of_dates [queued] DATE...`.

Engine, warehouse and lake come from the environment. It is a run without Dagster. Cases start it by `run_of_dates`,
each turn in a copy of a lake and a database of the warehouse of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.usage import Usage, of_program
from infra.embedded.processes.service import EmbeddedService
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import settings
from processing.claim import Claims, Skipped
from processing.context import RunContext
from processing.one_date import Failed, Processor, SilverDone
from spark_jobs.engine.session import connect
from warehouse.connection import connect as connect_warehouse

QUEUED = "queued"


class Services:
    """What runs of dates need and their cost includes.

    Args:
        services: Engine and warehouse, started.
    """

    def __init__(self, *services: EmbeddedService) -> None:
        self._env = {name: value for service in services for name, value in service.env().items()}
        self._pids = [service.pid for service in services if service.pid is not None]

    def run_of_dates(self, folder: Path, days: Sequence[date], *, queued: bool = False) -> Usage:
        """Process dates in the lake of a turn's folder.

        Args:
            folder: Has the lake as `lake`, and gets the log.
            days: The dates, one after another.
            queued: Whether discovery has queued them; otherwise a person asks for them.

        Raises:
            ProgramFailedError: a date did not become DONE.
        """
        # Each turn begins with an empty warehouse.
        database = "T" + "".join(filter(str.isalnum, f"{folder.parent.name}{folder.name}")).upper()
        env: Mapping[str, str] = {
            **self._env,
            "LAKE_URI": str(folder / "lake"),
            "SNOWFLAKE_DATABASE": database,
        }
        asked_by = [QUEUED] if queued else []
        program = (sys.executable, "-m", "benchmarks.run_of_dates", *asked_by, *(day.isoformat() for day in days))
        return of_program(program, folder / "log", env, self._pids)


def linked(source: Path, target: Path) -> None:
    """Copy a lake by links: what is written to a lake is always a new file."""
    shutil.copytree(source, target, copy_function=os.link)


def main(days: Sequence[date], *, queued: bool) -> None:
    """Process the dates; anything but DONE ends the process with an error."""
    lake, domain = Lake(settings()), load_catalog(settings().domains_file)["events"]
    run = RunContext(settings(), lake, domain, DeltaPartitionMeta(lake), str(uuid.uuid4()), discovered=queued)
    claims = Claims(run, lambda _: False, lambda _: None)
    spark = connect(settings().spark_remote, token=settings().spark_connect_token)
    processor = Processor(run, claims, spark, partial(connect_warehouse, settings()))
    for day in days:
        for step in processor.process(day):
            if isinstance(step, Failed | Skipped):
                sys.exit(str(step))
            if isinstance(step, SilverDone) and step.way:
                print(step.way)
    spark.stop()


if __name__ == "__main__":
    main([date.fromisoformat(day) for day in sys.argv[1:] if day != QUEUED], queued=QUEUED in sys.argv)
