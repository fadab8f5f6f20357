"""Bronze to Silver: one date of one domain, from exactly the given files.

The order of the steps, the counts and the two writes belong here; a step is in `steps`, a domain's own columns in
its `Transform`. docs/architecture.md says what Silver promises.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder is on the path instead of the project, and would offer `schema` and `session` as
    # top-level modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pyspark.sql import DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402

from platform_core.catalog import Domain  # noqa: E402
from platform_core.errors import PermanentError  # noqa: E402
from platform_core.lake import Lake  # noqa: E402
from platform_core.plugin import load_transform  # noqa: E402
from spark_jobs import cli, steps, tables  # noqa: E402
from spark_jobs.bronze import read_bronze  # noqa: E402
from spark_jobs.failures import explained  # noqa: E402
from spark_jobs.schema import PLATFORM_COLUMNS  # noqa: E402

log = logging.getLogger(__name__)

JOB = "bronze_to_silver"

# The Kafka key is the text of a contract column, which Silver has.
KEPT_PLATFORM_COLUMNS = tuple(name for name, _ in PLATFORM_COLUMNS if name != "_key")


@dataclass(frozen=True)
class SilverResult:
    """What became of each Bronze row of a date.

    Attributes:
        bronze_rows: Rows in the files.
        distinct_offsets: Rows without the copies that at-least-once delivery made.
        silver_rows: Rows in the Silver partition.
        offset_duplicates: Copies of a record, by topic, partition and offset.
        key_duplicates: Older versions of a primary key.
        quarantined: Rows in the quarantine partition, by the first rule that they break.
        seconds: Wall time of the job.
    """

    bronze_rows: int
    distinct_offsets: int
    silver_rows: int
    offset_duplicates: int
    key_duplicates: int
    quarantined: dict[str, int]
    seconds: float


def run(spark: SparkSession, lake: Lake, domain: Domain, day: date, files: Sequence[str]) -> SilverResult:
    """Replace one date of Silver and of the quarantine by what the files hold.

    Args:
        spark: A session, Spark's or Sail's, whose zone is UTC.
        lake: The lake.
        domain: The domain.
        day: The partition date, UTC.
        files: Bronze files, as paths below the lake's root; no others are read.

    Returns:
        The counts; each Bronze row is in exactly one of them.

    Raises:
        PermanentError: a file is gone, the plugin or a rule is wrong, or the counts do not add up.
        TransientError: the engine or the store failed.
    """
    started = time.monotonic()
    with explained(JOB, domain, day):
        bronze = read_bronze(spark, lake, domain, day, files)
        judged = _judged(bronze, domain, day)
        tally = _tally(judged, domain, day, bronze.count())
        # Evaluating the rows again is cheaper than a cache: the tally needs no JSON, no hash and no sort, and most
        # dates have no bad row. Of 860,000 events, Spark's cache took 42 CPU seconds where this takes 25.
        quarantined = _write_quarantine(judged, lake, domain, day, sum(tally.bad.values()))
        silver_rows = _write_silver(judged, lake, domain, day)
        result = _balanced(domain, day, tally, quarantined, silver_rows)
    result = replace(result, seconds=round(time.monotonic() - started, 3))
    log.info(
        "silver_written domain=%s date=%s bronze_rows=%d silver_rows=%d quarantined=%d seconds=%.1f",
        domain.name,
        day.isoformat(),
        result.bronze_rows,
        result.silver_rows,
        sum(result.quarantined.values()),
        result.seconds,
    )
    return result


def _classified(bronze: DataFrame, domain: Domain, day: date) -> DataFrame:
    given = bronze.withColumns(
        {
            steps.RECORD_HASH: steps.record_hash(domain.contract),
            steps.RECORD: steps.record_struct(bronze.schema),
            domain.partition_key: F.lit(day),
        }
    )
    transformed = load_transform(domain).transform(given, domain)
    _refuse_lost_columns(given.columns, transformed.columns, domain)
    builtin = steps.builtin_rules(domain.silver.primary_key, domain.bronze.timestamp_col, day)
    judged = steps.judge(transformed, [*builtin, *domain.quality.rules])
    slim = steps.keep_record_of_bad_rows(judged).drop(domain.partition_key)
    return steps.classify(slim, domain.silver.primary_key, domain.silver.order_by)


def _refuse_lost_columns(given: Sequence[str], returned: Sequence[str], domain: Domain) -> None:
    needed = [name for name in given if name.startswith("_")]
    needed += [domain.bronze.timestamp_col, *domain.silver.primary_key, *domain.silver.order_by]
    lost = [name for name in dict.fromkeys(needed) if name not in returned]
    if lost:
        raise PermanentError(
            f"Domain `{domain.name}`, `{domain.folder / 'transform.py'}`: `Transform` lost the columns"
            f" {', '.join(f'`{name}`' for name in lost)}. It must pass on every column that begins with an underscore,"
            " the primary key, `order_by` and `timestamp_col`.",
            domain=domain.name,
            lost=lost,
        )


def _counts(classified: DataFrame) -> dict[tuple[str, str], int]:
    rows = classified.groupBy(steps.OUTCOME, steps.first_broken_rule().alias("rule")).count().collect()
    return {(row[0], row[1]): row[2] for row in rows}


def _balanced(domain: Domain, day: date, bronze_rows: int, counts: dict[tuple[str, str], int]) -> SilverResult:
    def total(outcome: str) -> int:
        return sum(rows for (found, _), rows in counts.items() if found == outcome)

    copies = total(steps.OFFSET_DUPLICATE)
    quarantined = {rule: rows for (found, rule), rows in sorted(counts.items()) if found == steps.QUARANTINED}
    accounted = sum(counts.values())
    if accounted != bronze_rows:
        raise PermanentError(
            f"Domain `{domain.name}`, date {day.isoformat()}: {bronze_rows} Bronze rows became {accounted}: {counts}."
            " `Transform` must neither drop nor multiply rows; nothing was written.",
            domain=domain.name,
            day=day,
            bronze_rows=bronze_rows,
            accounted=accounted,
        )
    return SilverResult(
        bronze_rows=bronze_rows,
        distinct_offsets=bronze_rows - copies,
        silver_rows=total(steps.SILVER),
        offset_duplicates=copies,
        key_duplicates=total(steps.KEY_DUPLICATE),
        quarantined=quarantined,
        seconds=0.0,
    )


def _write_quarantine(classified: DataFrame, lake: Lake, domain: Domain, day: date, expected: int) -> None:
    bad = classified.where(F.col(steps.OUTCOME) == steps.QUARANTINED).select(
        steps.first_broken_rule().alias("rule"),
        F.col(steps.REASON).alias("reason"),
        F.col("_topic").alias("topic"),
        F.col("_partition").alias("partition"),
        F.col("_offset").alias("offset"),
        F.col("_kafka_timestamp").alias("kafka_timestamp"),
        F.col("_schema_id").alias("schema_id"),
        F.col(steps.RECORD_HASH).alias("record_hash"),
        F.col(steps.RECORD).alias("record"),
    )
    name = lake.quarantine(domain)
    if expected == 0 and tables.exists(lake, name) and not tables.has_partition(lake, name, domain.partition_key, day):
        return
    written = tables.replace_partition(bad, lake, name, domain.partition_key, day)
    _refuse_other_count(lake.uri(name), day, written, expected)


def _write_silver(classified: DataFrame, lake: Lake, domain: Domain, day: date, expected: int) -> None:
    good = classified.where(F.col(steps.OUTCOME) == steps.SILVER)
    own = [name for name in good.columns if not name.startswith("_")]
    silver = good.select(*own, F.col(steps.RECORD_HASH).alias("record_hash"), *KEPT_PLATFORM_COLUMNS)
    name = lake.silver(domain)
    written = tables.replace_partition(silver, lake, name, domain.partition_key, day)
    _refuse_other_count(lake.uri(name), day, written, expected)


def _refuse_other_count(table: str, day: date, written: int, expected: int) -> None:
    if written != expected:
        raise PermanentError(
            f"`{table}`, date {day.isoformat()}: the commit has {written} rows, counted were {expected}. An expression of"
            " `Transform` or of a rule is not deterministic; make it so and reset the date.",
            table=table,
            day=day,
            written=written,
            expected=expected,
        )


if __name__ == "__main__":
    sys.exit(cli.main(JOB, cli.silver_of_date(run)))
