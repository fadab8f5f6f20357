"""One date of Silver corrected by the keys of its new rows: what is judged are the rows of those keys, and no others.

The steps are those of `bronze_to_silver`, taken twice: over the earlier rows of the keys, and over those and the new
ones. Every count of a date is a sum over its keys, and every row of a key's outcome follows from that key's rows, so
the date is what it was, without the first and with the second. Whether that may be done, as far as the date's history
says, belongs to `processing`; that it came out right is proven by the audit.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from platform_core.domain.bronze_schema import RECORD_IDENTITY, bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.domain.contract import ColumnType
from platform_core.domain.quality import refusals
from platform_core.lake.delta_rows import count_date
from platform_core.lake.lake import Lake
from platform_core.lake.parquet_files import of_each, opened
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from spark_jobs import steps
from spark_jobs.bronze_to_silver import (
    FEW_BAD_ROWS,
    JOB,
    SilverResult,
    counted_rows,
    judged_rows,
    made_by,
    silver_columns,
    transformed_rows,
)
from spark_jobs.engine.failures import engine_is_gone, translate_engine_errors
from spark_jobs.engine.session import suit
from spark_jobs.judging.odd_keys import FEW_BYTES, FEW_ROWS
from spark_jobs.reading.bronze import BronzeSize, bronze_size, spark_schema
from spark_jobs.reading.working_copy import typed
from spark_jobs.writing.few_row_changes import RowChanges, apply_to_few, merge_into_many, row_changes

log = logging.getLogger(__name__)

MOST_NEW_ROWS = 10_000
"""New rows of a date that are few: ten files of the sink's."""

MOST_NEW_SHARE = 0.1
"""Of the rows that the date had; beyond it the whole date costs hardly more."""

_KEY_TYPES = frozenset(
    {ColumnType.STRING, ColumnType.INTEGER, ColumnType.BOOLEAN, ColumnType.TIMESTAMP, ColumnType.DATE}
)
"""Of a key that every engine, Arrow and DuckDB take for the same: 0.0 and -0.0 are one double here, two there."""

_ORIGIN = ("_topic", "_partition", "_offset")
_BAD = (*(name.removeprefix("_") for name in RECORD_IDENTITY), "record_hash")


class WholeDateNeededError(Exception):
    """The date is to be processed as a whole; the message is the end of a sentence that says why."""


@dataclass(frozen=True)
class NewRows:
    """The rows of a date's new files.

    Attributes:
        size: What the files' footers say.
        rows: The rows, typed by the contract.
    """

    size: BronzeSize
    rows: pa.Table


def new_rows(lake: Lake, domain: Domain, day: date, files: Sequence[str], before: SilverResult) -> NewRows:
    """Read the new files of a date, if they have few rows.

    Args:
        files: Paths below the lake's root.
        before: The date without them.

    Raises:
        WholeDateNeededError: they have many rows, or the key is of a type that engines compare in several ways.
        PermanentError: a file is gone or damaged.
    """
    columns = domain.contract.by_name
    if other := [key for key in domain.silver.primary_key if key not in columns or columns[key].type not in _KEY_TYPES]:
        raise WholeDateNeededError(f"the key `{other[0]}` is no text, integer or time of the contract")
    size = bronze_size(lake, domain, day, files)
    if size.rows > min(MOST_NEW_ROWS, before.bronze_rows * MOST_NEW_SHARE) or size.uncompressed_bytes > FEW_BYTES:
        raise WholeDateNeededError(f"{size.rows} new rows are many beside {before.bronze_rows}")
    schema = bronze_schema(domain.contract)
    return NewRows(size, pa.concat_tables(of_each(lake, files, partial(_rows, lake, schema))))


def _rows(lake: Lake, schema: pa.Schema, name: str) -> pa.Table:
    with opened(lake, name) as file:
        return typed(file.read(use_threads=False), schema)


def earlier_rows(lake: Lake, domain: Domain, files: Sequence[str], new: pa.Table, origins: pa.Table) -> pa.Table:
    """Return the rows of a date's earlier files that have a key of the new rows.

    Args:
        files: The earlier files.
        origins: Topic, Kafka partition and offset of those rows.

    Raises:
        WholeDateNeededError: they are many, or are not found.
    """
    schema = bronze_schema(domain.contract)
    if not origins.num_rows:
        return schema.empty_table()
    if origins.num_rows > FEW_ROWS:
        raise WholeDateNeededError(f"{origins.num_rows} rows have a key of the new ones")
    offsets: dict[int, list[int]] = {}
    for partition, offset in zip(origins["_partition"].to_pylist(), origins["_offset"].to_pylist(), strict=True):
        offsets.setdefault(partition, []).append(offset)
    ranges = {partition: OffsetRanges.from_offsets(some) for partition, some in offsets.items()}
    wanted_offsets = pa.array(sorted({offset for some in offsets.values() for offset in some}), pa.int64())

    def read(name: str) -> pa.Table | None:
        with opened(lake, name) as file:
            named = BronzeFooter.from_metadata(file.metadata.metadata)
            if named and not any(named.offsets.get(p, OffsetRanges()) & some for p, some in ranges.items()):
                return None
            rows = typed(file.read(use_threads=False), schema)
        return rows.filter(pc.is_in(rows["_offset"], wanted_offsets))

    found = pa.concat_tables([schema.empty_table(), *filter(None, of_each(lake, files, read))])
    keys = domain.silver.primary_key
    wanted = set(zip(*(new[name].to_pylist() for name in keys), strict=True))
    rows = found.filter(
        pa.array([key in wanted for key in zip(*(found[name].to_pylist() for name in keys), strict=True)], pa.bool_())
    )
    if _in_order(rows.select(_ORIGIN)) != _in_order(origins) or rows.nbytes > FEW_BYTES:
        raise WholeDateNeededError("the rows of the new rows' keys are many, or were not found where they should be")
    return rows


def _in_order(origins: pa.Table) -> list[tuple[object, ...]]:
    return sorted(zip(*(origins[name].to_pylist() for name in _ORIGIN), strict=True))


def run(
    spark: SparkSession,
    lake: Lake,
    domain: Domain,
    day: date,
    earlier: pa.Table,
    new: NewRows,
    before: SilverResult,
    may_write: Callable[[], object] = lambda: None,
) -> SilverResult:
    """Correct one date of Silver and of the quarantine by the rows of the keys that new files touch.

    Args:
        spark: A session, Spark's or Sail's, whose zone is UTC.
        earlier: All rows of the date's earlier files that have a key of the new rows.
        new: The new rows.
        before: The date as it was made of the earlier files, whole.
        may_write: Called before each write; what it raises leaves the tables as they are.

    Returns:
        The counts of the whole date.

    Raises:
        WholeDateNeededError: the date must be processed as a whole; unless it says that a commit is not what was
            expected, nothing was written.
        PermanentError: the plugin is wrong.
        TransientError: the engine or the store failed.
    """
    started = time.monotonic()
    silver, quarantine, key = lake.silver(domain), lake.quarantine(domain), domain.partition_key
    opened = _opened(lake, domain, day, before)
    with translate_engine_errors(JOB, domain, day):
        suit(spark, earlier.num_rows + new.rows.num_rows, new.size.uncompressed_bytes)
        try:
            now = _judged(spark, domain, day, pa.concat_tables([earlier, new.rows]), before)
            was = _judged(spark, domain, day, earlier, before) if earlier.num_rows else now.none()
        except PySparkException as error:
            if engine_is_gone(error):
                raise
            # Which value it is, and whether a rule may leave it out, is asked of all rows of the date.
            raise WholeDateNeededError("an expression cannot be evaluated for a row") from error
    counts = _combined(before, was.counts, now.counts)
    if reasons := refusals(domain.quality, counts.distinct_offsets, counts.quarantined):
        raise WholeDateNeededError(f"the date would not be published: {reasons[0]}")
    if sum(counts.quarantined.values()) >= FEW_BAD_ROWS:
        raise WholeDateNeededError("the date has many quarantined rows")
    for write, name, changes in (
        (apply_to_few, quarantine, _quarantine_changes(was.bad, now.bad)),
        (merge_into_many, silver, row_changes(was.silver, now.silver, domain.silver.primary_key)),
    ):
        may_write()
        if changes is None:
            continue
        _refuse_lost_columns(changes.added, opened[name])
        write(changes, lake, opened[name], key, day)
    _opened(lake, domain, day, counts)
    # Gold comes next, and is made of the whole date.
    row_bytes = new.size.uncompressed_bytes / max(1, new.size.rows)
    suit(spark, counts.bronze_rows, int(row_bytes * counts.bronze_rows))
    result = replace(counts, seconds=round(time.monotonic() - started, 3))
    log.info(
        "silver_corrected domain=%s date=%s new_rows=%d earlier_rows_of_their_keys=%d bronze_rows=%d silver_rows=%d"
        " seconds=%.1f",
        domain.name,
        day.isoformat(),
        new.rows.num_rows,
        earlier.num_rows,
        result.bronze_rows,
        result.silver_rows,
        result.seconds,
    )
    return result


def _opened(lake: Lake, domain: Domain, day: date, counts: SilverResult) -> dict[str, DeltaTable]:
    """Return Silver and the quarantine as they are now, if they have as many rows of the date as were counted."""
    expected = {lake.silver(domain): counts.silver_rows, lake.quarantine(domain): sum(counts.quarantined.values())}
    opened = {name: lake.delta(name) for name in expected}
    for name, rows in expected.items():
        stored = count_date(lake, opened[name], domain.partition_key, day)
        if stored != rows:
            raise WholeDateNeededError(f"`{lake.uri(name)}` has {stored} rows of the date and not {rows}")
    return opened


def _refuse_lost_columns(rows: pa.Table, table: DeltaTable) -> None:
    present = {field.name for field in table.schema().fields}
    if lost := [name for name in rows.column_names if name not in present]:
        raise WholeDateNeededError(f"`{table.table_uri}` has no column `{lost[0]}` yet")


@dataclass(frozen=True)
class _Judged:
    counts: SilverResult
    bad: pa.Table | None
    silver: pa.Table

    def none(self) -> _Judged:
        """The same of no rows."""
        nothing = SilverResult(0, 0, 0, 0, 0, 0, {}, {}, published=True)
        return _Judged(nothing, None, self.silver.schema.empty_table())


def _judged(spark: SparkSession, domain: Domain, day: date, rows: pa.Table, before: SilverResult) -> _Judged:
    # In one piece: Sail 0.7 finds no schema in `from_json` for a piece without rows.
    bronze = spark.createDataFrame(rows.combine_chunks(), spark_schema(domain.contract))
    transformed, rules, proof = transformed_rows(bronze, domain, day)
    if proof.objection:
        raise WholeDateNeededError(proof.objection)
    if made_by(spark, proof) != before.made_by:
        raise WholeDateNeededError("its rows were made by another transform, other rules, or another version")
    judged = judged_rows(transformed, rules, domain, day)
    counts, few_bad, divided = counted_rows(judged, domain, day, bronze, BronzeSize(rows.num_rows, rows.nbytes))
    latest = divided.silver(domain.silver)
    silver = silver_columns(latest, latest.columns).toArrow()
    bad = None if few_bad is None else few_bad.drop_columns(steps.BELONGS)
    bad_count = 0 if bad is None else bad.num_rows
    if silver.num_rows != counts.silver_rows or bad_count != sum(counts.quarantined.values()):
        raise WholeDateNeededError("an expression of `Transform` or of a rule is not deterministic")
    return _Judged(counts, bad, silver)


def _quarantine_changes(was: pa.Table | None, now: pa.Table | None) -> RowChanges | None:
    """Return what becomes of bad rows; nothing where there are none, whose columns nobody has asked the engine for."""
    some = now if now is not None else was
    if some is None:
        return None
    nothing = some.schema.empty_table()
    return row_changes(nothing if was is None else was, nothing if now is None else now, _BAD)


def _combined(before: SilverResult, minus: SilverResult, plus: SilverResult) -> SilverResult:
    def number(name: str) -> int:
        return int(getattr(before, name) - getattr(minus, name) + getattr(plus, name))

    def by_rule(name: str) -> dict[str, int]:
        counter = Counter(getattr(before, name))
        counter.update(getattr(plus, name))
        counter.subtract(getattr(minus, name))
        return {rule: count for rule, count in sorted(counter.items()) if count}

    return replace(
        before,
        bronze_rows=number("bronze_rows"),
        distinct_offsets=number("distinct_offsets"),
        silver_rows=number("silver_rows"),
        offset_duplicates=number("offset_duplicates"),
        key_duplicates=number("key_duplicates"),
        withheld=number("withheld"),
        quarantined=by_rule("quarantined"),
        warned=by_rule("warned"),
    )
