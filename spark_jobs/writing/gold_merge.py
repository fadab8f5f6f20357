"""Gold: one date of one table made equal to an aggregate by one MERGE.

How Gold's rows reach their table belongs here. What they are is the domain's `Aggregation`, whether they may be
published is judged before; tables themselves are created and widened by `spark_jobs.writing.tables`.
"""

from __future__ import annotations

import functools
import operator
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from spark_jobs.writing import tables

ENGINE_MERGE_ROWS = 100_000
"""From so many rows of a date on the engine merges, and not delta-rs in this process.

The rows are here already, since they were judged. For a table of few rows a MERGE costs Spark 9 to 20 CPU seconds of
planning and code generation, Sail 0.5 to 2.5, and delta-rs 0.05 with 1,000 dates of history.
"""

_VANISHED = "_vanished"


@dataclass(frozen=True)
class MergeCounts:
    """Rows that a MERGE changed.

    Attributes:
        inserted: Groups that are new.
        updated: Groups with another value than before.
        deleted: Groups that no longer exist.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def merge_partition(
    spark: SparkSession, rows: pa.Table, lake: Lake, name: str, keys: Sequence[str], day: date
) -> MergeCounts:
    """Make one date of a table equal to `rows` by one MERGE: update, insert, delete.

    The date is a literal in the condition, so that nothing reads or rewrites another date's files. A group that no
    longer exists comes as a source row of its own, flagged to be deleted: `WHEN NOT MATCHED BY SOURCE` would say the
    same, and then Delta on Spark rewrites the files of every other date too, and delta-rs reads them. Keys are
    compared null-safe and a row is updated only where a value differs, so merging the same twice changes nothing.

    Args:
        spark: A session, for a date of many rows.
        rows: All of the date's rows, each combination of keys once.
        name: The table's path below the lake's root.
        keys: The merge keys; the first is the partition column.

    Raises:
        PermanentError: a column has another type in the table.
    """
    dated = tables.with_date(rows, keys[0], day)
    table = tables.prepare(lake, name, Schema.from_arrow(dated.schema).to_json(), keys[0])
    if dated.num_rows < ENGINE_MERGE_ROWS:
        return _merge_few_rows(dated, lake, table, keys, day)
    return _merge_in_engine(spark, dated, lake, name, keys, day)


def _merge_few_rows(rows: pa.Table, lake: Lake, table: DeltaTable, keys: Sequence[str], day: date) -> MergeCounts:
    aligned = tables.aligned_rows(rows, table)
    schema = aligned.schema
    vanished = _vanished_keys(aligned, lake, table, keys, day)
    columns = [field for field in schema if field.name not in keys]
    gone = pa.Table.from_arrays(
        [vanished[f.name] if f.name in keys else pa.nulls(vanished.num_rows, f.type) for f in schema], schema=schema
    )
    source = pa.concat_tables([_flagged(aligned, vanished=False), _flagged(gone, vanished=True)])
    on = [f"t.\"{keys[0]}\" = date'{day.isoformat()}'", *[f'(t."{k}" IS NOT DISTINCT FROM s."{k}")' for k in keys[1:]]]
    merge = table.merge(source, " AND ".join(on), source_alias="s", target_alias="t").when_matched_delete(
        f's."{_VANISHED}"'
    )
    if columns:
        differs = " OR ".join(f'(t."{c.name}" IS DISTINCT FROM s."{c.name}")' for c in columns)
        merge = merge.when_matched_update({f'"{c.name}"': f's."{c.name}"' for c in columns}, differs)
    merge = merge.when_not_matched_insert({f'"{f.name}"': f's."{f.name}"' for f in schema}, f'NOT s."{_VANISHED}"')
    metrics = merge.execute()
    return MergeCounts(
        metrics["num_target_rows_inserted"], metrics["num_target_rows_updated"], metrics["num_target_rows_deleted"]
    )


def _flagged(rows: pa.Table, *, vanished: bool) -> pa.Table:
    return rows.append_column(_VANISHED, pa.array([vanished] * rows.num_rows, pa.bool_()))


def _vanished_keys(rows: pa.Table, lake: Lake, table: DeltaTable, keys: Sequence[str], day: date) -> pa.Table:
    """Return the keys that the table's date has and `rows` have not; NULL equals NULL, which a join would not say."""
    stored = read_date(lake, table, keys[0], day, keys)
    current = rows.select(list(keys))
    both = pa.concat_tables([stored.cast(current.schema), current])
    is_current = pa.array([0] * stored.num_rows + [1] * current.num_rows, pa.int8())
    groups = both.append_column("is_current", is_current).group_by(list(keys)).aggregate([("is_current", "max")])
    return groups.filter(pc.equal(groups["is_current_max"], 0)).select(list(keys))


def _merge_in_engine(
    spark: SparkSession, dated: pa.Table, lake: Lake, name: str, keys: Sequence[str], day: date
) -> MergeCounts:
    rows = tables.aligned(spark.createDataFrame(dated, from_arrow_schema(dated.schema)), lake, name)
    source = _with_vanished(rows, lake, name, keys, day)
    on = [f"t.`{keys[0]}` = date'{day.isoformat()}'", *[f"t.`{key}` <=> s.`{key}`" for key in keys[1:]]]
    values = [column for column in rows.columns if column not in keys]
    differs = " or ".join(f"not (t.`{column}` <=> s.`{column}`)" for column in values)
    assigned = ", ".join(f"`{column}` = s.`{column}`" for column in values)
    columns = ", ".join(f"`{column}`" for column in rows.columns)
    view = f"merge_source_{uuid.uuid4().hex}"
    before = lake.delta(name).version()
    source.createOrReplaceTempView(view)
    try:
        spark.sql(
            f"MERGE INTO delta.`{lake.spark_uri(name)}` t USING {view} s ON {' AND '.join(on)}"
            f" WHEN MATCHED AND s.`{_VANISHED}` THEN DELETE"
            + (f" WHEN MATCHED AND ({differs}) THEN UPDATE SET {assigned}" if values else "")
            + f" WHEN NOT MATCHED AND NOT s.`{_VANISHED}` THEN INSERT ({columns})"
            f" VALUES ({', '.join(f's.`{column}`' for column in rows.columns)})"
        ).collect()
    finally:
        spark.catalog.dropTempView(view)
    if lake.delta(name).version() == before:
        # Sail commits nothing when nothing changed; Spark commits a rewrite of the same rows.
        return MergeCounts()
    metrics = tables.last_metrics(lake, name)
    return MergeCounts(
        metrics.get("numTargetRowsInserted", 0),
        metrics.get("numTargetRowsUpdated", 0),
        metrics.get("numTargetRowsDeleted", 0),
    )


def _with_vanished(rows: DataFrame, lake: Lake, name: str, keys: Sequence[str], day: date) -> DataFrame:
    """Return the rows, and one flagged row for each key that the table's date has and they have not."""
    stored = rows.sparkSession.read.format("delta").load(lake.spark_uri(name)).where(F.col(keys[0]) == F.lit(day))
    before, after = stored.alias("before"), rows.select(*keys).alias("after")
    same = [F.col(f"before.{key}").eqNullSafe(F.col(f"after.{key}")) for key in keys]
    vanished = before.join(after, functools.reduce(operator.and_, same), "left_anti")
    return rows.withColumn(_VANISHED, F.lit(False)).unionByName(vanished.withColumn(_VANISHED, F.lit(True)))
