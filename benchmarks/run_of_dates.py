"""One date of events from its claim to DONE, in a process of its own as a run has: `... one_date DATE`.

Engine, warehouse and lake come from the environment. It is a run without Dagster.
"""

from __future__ import annotations

import sys
import uuid
from datetime import date
from functools import partial

from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import settings
from processing.claim import Claims, Skipped
from processing.context import RunContext
from processing.one_date import Failed, Processor
from spark_jobs.session import connect
from warehouse.connection import connect as connect_warehouse


def main(day: date) -> None:
    """Process the date; anything but DONE ends the process with an error."""
    lake, domain = Lake(settings()), load_catalog(settings().domains_file)["events"]
    run = RunContext(settings(), lake, domain, DeltaPartitionMeta(lake), str(uuid.uuid4()), discovered=False)
    claims = Claims(run, lambda _: False, lambda _: None)
    spark = connect(settings().spark_remote, token=settings().spark_connect_token)
    for step in Processor(run, claims, spark, partial(connect_warehouse, settings())).process(day):
        if isinstance(step, Failed | Skipped):
            sys.exit(str(step))
    spark.stop()


if __name__ == "__main__":
    main(date.fromisoformat(sys.argv[1]))
