"""Bronze to Silver: one date of one domain, from exactly the given files.

The order of the steps, the counts and the two writes belong here; a step is in `steps`, a domain's own columns in
its `Transform`. docs/architecture.md says what Silver promises.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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

from platform_core.domain.bronze_schema import PLATFORM_COLUMNS, RECORD_IDENTITY
from platform_core.domain.catalog import Domain, Rule, Silver
from platform_core.domain.contract import ColumnType
from platform_core.domain.plugin import load_transform
from platform_core.domain.quality import builtin_rules, refusals
from platform_core.errors import PermanentError
from platform_core.lake.key_versions import KeyVersions, Moves, version_columns
from platform_core.lake.lake import Lake
from spark_jobs import cli, steps
from spark_jobs.correction.row_wise import RowWise, row_wise
from spark_jobs.engine.failures import engine_is_gone, translate_engine_errors
from spark_jobs.engine.session import suit
from spark_jobs.framework_version import framework_version
from spark_jobs.judging.odd_keys import DividedRows, counted
from spark_jobs.judging.rule_arithmetic import without_overflow
from spark_jobs.judging.unevaluable_rows import unevaluable_rows
from spark_jobs.reading.bronze import BronzeSize, bronze_size, read_bronze, unreadable_file
from spark_jobs.reading.working_copy import in_few_files
from spark_jobs.writing import few_rows, tables

log = logging.getLogger(__name__)

JOB = "bronze_to_silver"

# The Kafka key is the text of a contract column, which Silver has.
KEPT_PLATFORM_COLUMNS = tuple(field.name for field in PLATFORM_COLUMNS if field.name != "_key")

_IDENTITY = (*RECORD_IDENTITY, "_ingested_at", steps.RECORD_HASH)

FEW_BAD_ROWS = 10_000
"""Up to so many quarantined rows of a date come to this process, which writes them for less than the engine would."""

FEW_SILVER_ROWS = 100_000
FEW_SILVER_BYTES = 32 << 20
"""Up to so many rows of Bronze, and so many of their bytes without compression, Silver is written by this process.

Of 20,000 rows it takes 0.1 CPU seconds of it and 0.5 of Spark instead of 2.2. They are three times as large here.
"""


@dataclass(frozen=True)
class SilverResult:
    """What became of each Bronze row of a date.

    Attributes:
        bronze_rows: Rows in the files.
        distinct_offsets: Rows without the copies that at-least-once delivery made.
        silver_rows: Rows in the Silver partition.
        offset_duplicates: Copies of a record, by topic, partition and offset.
        key_duplicates: Good versions of a primary key that Silver does not have, because a later one counts.
        withheld: Keys of which Silver has no row though a version is good: their latest version is quarantined.
        moved: Keys of which Silver has no row though their latest version of the date is good: another date has a
            later one. Only a domain with a global key has any.
        quarantined: Rows in the quarantine partition, by the first rule that they break.
        warned: Records that break a rule which only warns, by rule.
        published: Whether Silver was replaced; False when domains.yaml refuses a date with so many bad rows. Then
            `silver_rows` and `key_duplicates` are what would have been, and only the quarantine was written.
        seconds: Wall time of the job.
        made_by: What made the rows, where it is proven that each row follows from its Bronze row alone: a date whose
            rows were made by the same can be corrected by the keys of its new rows. Empty without a proof.
    """

    bronze_rows: int
    distinct_offsets: int
    silver_rows: int
    offset_duplicates: int
    key_duplicates: int
    withheld: int
    quarantined: dict[str, int]
    warned: dict[str, int]
    published: bool
    moved: int = 0
    seconds: float = 0.0
    made_by: str = ""


def run(
    spark: SparkSession,
    lake: Lake,
    domain: Domain,
    day: date,
    files: Sequence[str],
    on_moves: Callable[[Moves], object] = lambda _: None,
) -> SilverResult:
    """Replace one date of Silver and of the quarantine by what the files hold.

    Args:
        spark: A session, Spark's or Sail's, whose zone is UTC.
        day: The partition date, UTC.
        files: Bronze files, as paths below the lake's root; no others are read.
        on_moves: Called before Silver of a domain with a global key is replaced; the caller stores the versions and
            has other dates corrected when the date is delivered. Without it neither happens.

    Returns:
        The counts; each Bronze row is in exactly one of them.

    Raises:
        PermanentError: a file is gone or damaged, the plugin or a rule is wrong, or the counts do not add up.
        TransientError: the engine or the store failed.
    """
    started = time.monotonic()
    with translate_engine_errors(JOB, domain, day, lambda: unreadable_file(lake, domain, files)):
        size = bronze_size(lake, domain, day, files)
        suit(spark, size.rows, size.uncompressed_bytes)
        with in_few_files(lake, domain, day, files, size) as few:
            bronze = read_bronze(spark, lake, domain, day, few)
            counts = _replaced(bronze, lake, domain, day, size, on_moves)
    result = replace(counts, seconds=round(time.monotonic() - started, 3))
    log.info(
        "silver_%s domain=%s date=%s bronze_rows=%d silver_rows=%d withheld=%d moved=%d quarantined=%d seconds=%.1f",
        "written" if result.published else "refused",
        domain.name,
        day.isoformat(),
        result.bronze_rows,
        result.silver_rows,
        result.withheld,
        result.moved,
        sum(result.quarantined.values()),
        result.seconds,
    )
    return result


def _replaced(
    bronze: DataFrame, lake: Lake, domain: Domain, day: date, size: BronzeSize, on_moves: Callable[[Moves], object]
) -> SilverResult:
    transformed, rules, proof = transformed_rows(bronze, domain, day)
    judged = judged_rows(transformed, rules, domain, day)
    # Evaluating the rules again, and only where the tally says, is cheaper than a cache of them. Sail has none.
    try:
        counts, few_bad, rows = counted_rows(judged, domain, day, bronze, size)
    except PySparkException as error:
        if engine_is_gone(error):
            raise
        unevaluable = unevaluable_rows(bronze.sparkSession, transformed, rules, domain)
        if not unevaluable:
            raise
        judged = judged_rows(transformed, rules, domain, day, unevaluable)
        counts, few_bad, rows = counted_rows(judged, domain, day, bronze, size)
    counts = replace(counts, made_by=made_by(bronze.sparkSession, proof))
    _write_quarantine(judged, few_bad, lake, domain, day, sum(counts.quarantined.values()))
    # Audit before publishing: a refused date leaves Silver as it was, and its bad rows in the quarantine.
    if not counts.published:
        return counts
    outdated = None
    if domain.silver.global_key:
        versions = steps.key_versions(judged, domain.silver, version_columns(domain)).toArrow()
        moves = KeyVersions(lake, domain).compare(day, versions)
        on_moves(moves)
        outdated, moved = moves.outdated, moves.outdated.num_rows
        counts = replace(counts, silver_rows=counts.silver_rows - moved, moved=moved)
    few = size.rows <= FEW_SILVER_ROWS and size.uncompressed_bytes <= FEW_SILVER_BYTES
    good = rows.silver(domain.silver)
    if outdated is not None and outdated.num_rows:
        good = good.join(good.sparkSession.createDataFrame(outdated), list(domain.silver.primary_key), "left_anti")
    # The columns of what was read: to ask for those of rows that came from here sends all of them once more.
    _write_silver(silver_columns(good, judged.columns), lake, domain, day, counts.silver_rows, few=few)
    return counts


def transformed_rows(bronze: DataFrame, domain: Domain, day: date) -> tuple[DataFrame, list[Rule], RowWise]:
    """Return every Bronze row with the plugin's columns, `_record_hash` and `_record`; its rules; what made both.

    An object or a property that the contract does not name in full may have anything in it, so addresses are masked
    there before anything is made of it.
    """
    open_texts = [column.name for column in domain.contract.columns if column.type is ColumnType.JSON_OBJECT]
    given = bronze.withColumns(
        {
            **{name: steps.without_addresses(F.col(name)) for name in (*open_texts, "_extra")},
            steps.RECORD_HASH: steps.record_hash(domain.contract),
            steps.RECORD: steps.record_struct(bronze.schema),
            domain.partition_key: F.lit(day),
        }
    )
    transformed = load_transform(domain).transform(given, domain)
    _refuse_lost_columns(given.columns, transformed.columns, domain)
    transformed = steps.with_one_zero(transformed, domain.silver)
    rules = without_overflow(transformed, domain.quality.rules)
    return transformed, rules, row_wise(given, transformed, rules, [*domain.silver.primary_key, *_IDENTITY])


def made_by(spark: SparkSession, proof: RowWise) -> str:
    """Return what makes rows by a plan: its fingerprint, this code and the engine; empty without a proof."""
    if not proof.fingerprint:
        return ""
    return hashlib.sha256(f"{proof.fingerprint} {framework_version()} {spark.version}".encode()).hexdigest()[:16]


def judged_rows(
    transformed: DataFrame,
    rules: Sequence[Rule],
    domain: Domain,
    day: date,
    unevaluable: Mapping[str, Collection[str]] | None = None,
) -> DataFrame:
    """Return the transformed rows with `_reason` and `_warnings`."""
    judged = steps.judge(transformed, [*builtin_rules(domain, day), *rules], unevaluable)
    return judged.drop(domain.partition_key)


def _refuse_lost_columns(given: Sequence[str], returned: Sequence[str], domain: Domain) -> None:
    needed = [name for name in given if name.startswith("_")]
    needed += [domain.bronze.timestamp_col, *domain.silver.primary_key, *domain.silver.order_by]
    lost = [name for name in dict.fromkeys(needed) if name not in returned]
    if lost:
        raise PermanentError(
            f"Domain `{domain.name}`, `{domain.folder / 'transform.py'}`: `Transform` lost the columns"
            f" {', '.join(f'`{name}`' for name in lost)}. It must pass on every column that begins with an underscore,"
            " the primary key, `order_by` and `timestamp_col`."
        )


def counted_rows(
    judged: DataFrame, domain: Domain, day: date, bronze: DataFrame, size: BronzeSize
) -> tuple[SilverResult, pa.Table | None, DividedRows]:
    """Return the counts, the bad rows where there are some and they are few, and all rows divided."""
    lines, rows = counted(judged, domain.silver, domain.quality.rules, size.uncompressed_bytes / max(1, size.rows))
    total = sum(line["rows"] for line in lines)
    if total != size.rows:
        read = bronze.count()
        cause = (
            f"`{domain.folder / 'transform.py'}`: {read} Bronze rows became {total}. `Transform` must neither drop nor"
            " multiply rows"
            if read == size.rows
            else f"the engine read {read} rows of Bronze files whose footers count {size.rows}. Look for a damaged file"
            f" with `pdp audit --domain {domain.name} --date {day} --stage bronze`"
        )
        raise PermanentError(f"Domain `{domain.name}`, date {day.isoformat()}: {cause}; nothing was written.")
    bad: Counter[str] = Counter()
    warned: Counter[str] = Counter()
    for line in lines:
        if line["rule"]:
            bad[line["rule"]] += line["records"]
        for name in filter(None, line["warnings"].split(",")):
            warned[name] += line["warned"]
    records = sum(line["records"] for line in lines)
    few_bad = few_rows.fetched(bad_rows(rows.suspects, domain)) if 0 < sum(bad.values()) < FEW_BAD_ROWS else None
    withheld = _count_withheld(rows.suspects, few_bad, domain.silver) if bad else 0
    silver_rows = sum(line["keys"] for line in lines if not line["rule"]) - withheld
    counts = SilverResult(
        bronze_rows=total,
        distinct_offsets=records,
        silver_rows=silver_rows,
        offset_duplicates=total - records,
        key_duplicates=records - sum(bad.values()) - silver_rows,
        withheld=withheld,
        quarantined=dict(sorted(bad.items())),
        warned=dict(sorted(warned.items())),
        published=not refusals(domain.quality, records, bad),
    )
    return counts, few_bad, rows


def _count_withheld(suspects: DataFrame, few_bad: pa.Table | None, silver: Silver) -> int:
    if few_bad is not None and not pc.any(few_bad[steps.BELONGS]).as_py():
        return 0
    return steps.withheld(suspects, silver).count()


def bad_rows(judged: DataFrame, domain: Domain) -> DataFrame:
    """Return the rows of the quarantine, and beside them whether they are versions of their key."""
    return steps.bad(judged).select(
        steps.first_broken_rule().alias("rule"),
        F.col(steps.REASON).alias("reason"),
        F.col("_topic").alias("topic"),
        F.col("_partition").alias("partition"),
        F.col("_offset").alias("offset"),
        F.col("_kafka_timestamp").alias("kafka_timestamp"),
        F.col("_schema_id").alias("schema_id"),
        F.col(steps.RECORD_HASH).alias("record_hash"),
        steps.without_addresses(F.to_json(steps.RECORD)).alias("record"),
        steps.BELONGS,
    )


def _write_quarantine(
    judged: DataFrame, few_bad: pa.Table | None, lake: Lake, domain: Domain, day: date, expected: int
) -> None:
    name = lake.quarantine(domain)
    if expected == 0 and tables.exists(lake, name) and not tables.has_partition(lake, name, domain.partition_key, day):
        return
    if expected == 0:
        few_bad = bad_rows(judged.limit(0), domain).toArrow()  # the columns, for a table that is new
    if few_bad is not None:
        written = tables.replace_small_partition(
            few_bad.drop_columns(steps.BELONGS), lake, name, domain.partition_key, day
        )
    else:
        bad = bad_rows(judged, domain).drop(steps.BELONGS)
        written = tables.replace_partition(bad, lake, name, domain.partition_key, day)
    _refuse_other_count(lake.uri(name), domain, day, written, expected)


def _write_silver(rows: DataFrame, lake: Lake, domain: Domain, day: date, expected: int, *, few: bool) -> None:
    name = lake.silver(domain)
    written = tables.replace_partition(rows, lake, name, domain.partition_key, day, few=few)
    _refuse_other_count(lake.uri(name), domain, day, written, expected)


def silver_columns(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """Return a transformed DataFrame with the columns that Silver has, without the partition date.

    Args:
        rows: Rows as `Transform` returns them, without the partition date.
        names: Their columns.
    """
    own = [name for name in names if not name.startswith("_")]
    return rows.select(*own, F.col(steps.RECORD_HASH).alias("record_hash"), *KEPT_PLATFORM_COLUMNS)


def _refuse_other_count(table: str, domain: Domain, day: date, written: int, expected: int) -> None:
    if written != expected:
        raise PermanentError(
            f"Domain `{domain.name}`, date {day.isoformat()}: {written} rows were committed to `{table}`, but"
            f" {expected} were counted in Bronze. An expression of `Transform` or of a rule is not"
            " deterministic, or the files changed; mend it and reset the date."
        )


def _run_on_listed(spark: SparkSession, lake: Lake, domain: Domain, day: date) -> SilverResult:
    return run(spark, lake, domain, day, [file.name for file in lake.list_date(domain, day)])


if __name__ == "__main__":
    sys.exit(cli.main(JOB, _run_on_listed))
