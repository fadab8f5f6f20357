"""The command line that both jobs share, for `spark-submit` and for plain `python`.

Arguments, the loop over dates and the exit code belong here. Each date has its own outcome: one JSON line on
standard output, and the next date runs whether it succeeded or not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from pyspark.sql import SparkSession

from platform_core.domain.catalog import Domain, configured_catalog
from platform_core.domain.catalog_checks import refuse_unreadable
from platform_core.errors import PlatformError, TransientError
from platform_core.lake.lake import Lake
from platform_core.settings import settings
from spark_jobs.engine import session

OfDate = Callable[[SparkSession, Lake, Domain, date], Any]


def main(job: str, of_date: OfDate, argv: Sequence[str] | None = None) -> int:
    """Process the dates of the command line.

    Args:
        job: The job's name, for the output.
        of_date: What to do for one date; returns a dataclass.
        argv: The arguments; `sys.argv` by default.

    Returns:
        The exit code: 0 when every date succeeded, 1 when one failed, 2 when nothing could start.
    """
    arguments = _parser(job).parse_args(argv)
    days = sorted({day for group in arguments.date for day in group})
    try:
        domain = configured_catalog(settings())[arguments.domain]
        refuse_unreadable(domain)
        lake = Lake(settings())
        lake.store.check(writes=True)
    except PlatformError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    if session.under_spark_submit() and not arguments.remote:
        spark = session.classic(f"{job}-{domain.name}")
    else:
        spark = session.connect(arguments.remote or settings().spark_remote, token=settings().spark_connect_token)
    try:
        outcomes = [_outcome(job, of_date, spark, lake, domain, day) for day in days]
    finally:
        spark.stop()
    return 0 if all(outcomes) else 1


def _outcome(job: str, of_date: OfDate, spark: SparkSession, lake: Lake, domain: Domain, day: date) -> bool:
    line: dict[str, Any] = {"job": job, "domain": domain.name, "date": day.isoformat()}
    succeeded = False
    try:
        result = asdict(of_date(spark, lake, domain, day))
        succeeded = bool(result.get("published", True))
        line |= {"outcome": "succeeded" if succeeded else "refused by the quality thresholds", **result}
    except PlatformError as error:
        line |= {"outcome": "failed", "retry": isinstance(error, TransientError), "error": error.message}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
    return succeeded


def _parser(job: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=job, description=f"Run {job} for dates of one domain.")
    parser.add_argument("--domain", required=True, help="A name of domains.yaml")
    parser.add_argument(
        "--date", required=True, action="append", type=_dates, help="YYYY-MM-DD; repeat it, or separate by commas"
    )
    parser.add_argument("--remote", help="Spark Connect URL; by default SPARK_REMOTE, and none under spark-submit")
    return parser


def _dates(text: str) -> list[date]:
    return [date.fromisoformat(part.strip()) for part in text.split(",") if part.strip()]
