"""A program: runs one date of events as a run worker does, and is killed by SIGKILL at a chosen step.

`python -m tests.rigs.killed_run STEP DATE`; the environment has the platform's settings and DAGSTER_HOME. Killing
itself is as sudden as being killed, and hits the step exactly. With `slow` it does not: Silver takes an hour, and the
test ends it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import dagster as dg

from platform_assets.definitions import build_defs
from platform_core.domain.catalog import load_catalog
from platform_core.settings import settings
from processing.claim import Claims
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.writing import gold_merge


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_inside_the_second_merge() -> None:
    # The engine merges: what it was told to do goes on without the process that asked.
    gold_merge.ENGINE_MERGE_ROWS = 0
    merge, seen = gold_merge.merge_partition, []

    def merging(spark: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            sql = spark.sql

            def then_die(query: str) -> Any:
                # The statement is on its way to the engine, which works on while this process is gone.
                threading.Timer(0.05, die).start()
                return sql(query)

            spark.sql = then_die
        return merge(spark, *args, **kwargs)

    gold_merge.merge_partition = merging  # type: ignore[assignment]


def compute_for_an_hour(spark: Any, *_: Any, **__: Any) -> None:
    spark.range(10**13).selectExpr("sum(id % 7)").collect()


def main(step: str, day: str) -> None:
    if step == "slow":
        bronze_to_silver.run = compute_for_an_hour  # type: ignore[assignment]
    elif step == "before Silver":
        bronze_to_silver.run = die  # type: ignore[assignment]
    elif step == "between Silver and Gold":
        silver_to_gold.run = die  # type: ignore[assignment]
    elif step == "inside the MERGE":
        die_inside_the_second_merge()
    elif step == "before DONE":
        Claims.finish = die  # type: ignore[assignment, method-assign]
    else:
        sys.exit(f"no step {step!r}")
    job = build_defs(load_catalog(settings().domains_file)).resolve_job_def("data_pipeline_events")
    with dg.DagsterInstance.get() as instance:
        job.execute_in_process(
            partition_key=day, tags={"pdp/reason": "PENDING"}, instance=instance, raise_on_error=False
        )
    sys.exit("it was not killed" if step != "slow" else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
