"""A code location of one op, whose sensor launches a run for each number that the test writes to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg


@dg.op(pool="small")
def say() -> None:
    print("said by the run")


@dg.job
def small() -> None:
    say()


@dg.sensor(job=small, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def numbers() -> Iterator[dg.RunRequest]:
    file = Path(os.environ["NUMBERS_FILE"])
    for number in file.read_text().split() if file.exists() else []:
        yield dg.RunRequest(run_key=number, tags={"number": number})


defs = dg.Definitions(jobs=[small], sensors=[numbers])
