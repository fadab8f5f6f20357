"""Silver to Gold: one date of one domain, each Gold table by one MERGE.

Checking what the plugin returned and merging it belong here; what a Gold table counts is the domain's
`Aggregation`. docs/architecture.md says what Gold promises.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder is on the path instead of the project, and would offer `schema` and `session` as
    # top-level modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from platform_core.domain.catalog import Domain
from platform_core.domain.plugin import load_aggregation
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from spark_jobs import cli
from spark_jobs.engine.failures import is_refused_value, refused_value, translate_engine_errors
from spark_jobs.judging.unaggregable_rows import unaggregable
from spark_jobs.writing import gold_merge, tables

log = logging.getLogger(__name__)

JOB = "silver_to_gold"


@dataclass(frozen=True)
class GoldResult:
    """What a date's Gold is now.

    Attributes:
        rows: Rows of the date by table.
        changes: Rows that the MERGE inserted, updated and deleted, by table.
        seconds: Wall time of the job.
    """

    rows: dict[str, int] = field(default_factory=dict)
    changes: dict[str, gold_merge.MergeCounts] = field(default_factory=dict)
    seconds: float = 0.0


def run(
    spark: SparkSession,
    lake: Lake,
    domain: Domain,
    day: date,
    judge: Callable[[Mapping[str, pa.Table]], object] = lambda _: None,
) -> GoldResult:
    """Make one date of each Gold table equal to the aggregate of that date of Silver.

    Args:
        spark: A session, Spark's or Sail's, whose zone is UTC.
        day: The partition date, UTC.
        judge: Called with the rows of all tables before the first is merged; what it raises leaves Gold as it was.

    Raises:
        PermanentError: Silver does not exist, or the plugin returned other tables, other keys, or a group twice.
        TransientError: the engine or the store failed.
    """
    started = time.monotonic()
    with translate_engine_errors(JOB, domain, day):
        silver = _read_silver(spark, lake, domain, day)
        # Evaluated once: what is judged is what is merged.
        rows = _evaluated(silver, domain, day)
        for table, keys in domain.gold.tables.items():
            _refuse_repeated_keys(rows[table], domain, table, keys, day)
        judge(rows)
        changes = {
            table: gold_merge.merge_partition(spark, rows[table], lake, lake.gold(domain, table), keys, day)
            for table, keys in domain.gold.tables.items()
        }
    counts = {table: merged.num_rows for table, merged in rows.items()}
    result = GoldResult(counts, changes, round(time.monotonic() - started, 3))
    log.info(
        "gold_merged domain=%s date=%s rows=%s seconds=%.1f", domain.name, day.isoformat(), result.rows, result.seconds
    )
    return result


def _evaluated(silver: DataFrame, domain: Domain, day: date) -> dict[str, pa.Table]:
    aggregation = load_aggregation(domain)

    def tables_of(some: DataFrame) -> dict[str, DataFrame]:
        return _tables(aggregation.aggregate(some, domain, day), domain)

    aggregates, rows = tables_of(silver), {}
    for table in domain.gold.tables:
        try:
            rows[table] = aggregates[table].toArrow()
        except PySparkException as error:
            if not is_refused_value(error):
                raise
            culprit = unaggregable(silver, lambda some: tables_of(some)[table], table, domain)  # noqa: B023 - called here
            if not culprit:
                raise
            raise PermanentError(
                f"Domain `{domain.name}`, date {day.isoformat()}: the aggregation cannot take a value of {culprit}."
                " Nothing was merged. Quarantine such rows by a rule in domains.yaml, or use `try_` functions in"
                f" `{domain.folder / 'aggregation.py'}`, which give NULL instead; then revive the date."
                f" `pdp trace` shows a record. {refused_value(error)}"
            ) from error
    return rows


def _read_silver(spark: SparkSession, lake: Lake, domain: Domain, day: date) -> DataFrame:
    name = lake.silver(domain)
    if not tables.exists(lake, name):
        raise PermanentError(
            f"Domain `{domain.name}`, date {day.isoformat()}: `{lake.uri(name)}` does not exist."
            " Run bronze_to_silver first."
        )
    table = spark.read.format("delta").load(lake.spark_uri(name))
    return table.where(F.col(domain.partition_key) == F.lit(day))


def _tables(returned: DataFrame | dict[str, DataFrame], domain: Domain) -> dict[str, DataFrame]:
    declared = list(domain.gold.tables)
    found = returned if isinstance(returned, dict) else dict.fromkeys(declared[:1], returned)
    if set(found) != set(declared):
        raise PermanentError(
            f"Domain `{domain.name}`, `{domain.folder / 'aggregation.py'}`: `Aggregation` returned the tables"
            f" {sorted(found)}, but `gold.tables` lists {sorted(declared)}. Make them equal."
        )
    for table, frame in found.items():
        absent = [key for key in domain.gold.tables[table] if key not in frame.columns]
        if absent:
            raise PermanentError(
                f"Domain `{domain.name}`, Gold table `{table}`: the aggregate has no column for the merge keys"
                f" {absent}; it has {frame.columns}. Add them in `{domain.folder / 'aggregation.py'}`."
            )
    return found


def _refuse_repeated_keys(rows: pa.Table, domain: Domain, table: str, keys: Sequence[str], day: date) -> None:
    groups = rows.group_by(list(keys)).aggregate([([], "count_all")])
    if groups.num_rows != rows.num_rows:
        repeated = groups.filter(pc.greater(groups["count_all"], 1)).select(list(keys)).slice(0, 1).to_pylist()
        raise PermanentError(
            f"Domain `{domain.name}`, Gold table `{table}`, date {day.isoformat()}: {rows.num_rows} rows for"
            f" {groups.num_rows} combinations of the merge keys {list(keys)}, for example {repeated[0]}."
            f" Group by exactly these keys in `{domain.folder / 'aggregation.py'}`; nothing was merged."
        )


if __name__ == "__main__":
    sys.exit(cli.main(JOB, run))
