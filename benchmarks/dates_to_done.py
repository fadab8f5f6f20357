"""Dates of events from claim to DONE, in a process of their own as a run has: `... dates_to_done [queued] DATE...`.

Engine, warehouse and lake come from the environment. It is a run without Dagster, and imports what a run does and
nothing of the benchmark: 0.1 CPU seconds of a figure were imports that no run has. `run_of_dates` starts it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from datetime import date
from functools import partial

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
