"""Silver, quarantine and Gold as Delta tables: create, evolve, replace a date, merge a date, take a merge back.

Every commit that adds rows to those tables is made here; after a failed check `processing` takes Gold back to the
version before. Rows come from Spark or Sail; a table's schema is created and widened by delta-rs, because Sail ignores
`mergeSchema` without a word and has no `ALTER TABLE ADD COLUMNS`, and one way that works under both engines is better
than two.
"""

from __future__ import annotations

import functools
import json
import logging
import operator
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from deltalake import DeltaTable, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake

log = logging.getLogger(__name__)

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


def prepare(lake: Lake, name: str, schema: T.StructType, partition_column: str) -> None:
    """Create the table, or add the columns that it lacks.

    One writer a table is assumed, as everywhere: two at once would both commit version 0, of which one fails.

    Args:
        name: The table's path below the lake's root.
        schema: What is going to be written.
        partition_column: The date column, for a new table.

    Raises:
        PermanentError: a column has another type in the table.
    """
    wanted = Schema.from_json(json.dumps(_nullable(schema.jsonValue())))
    table = _open(lake, name)
    if table is None:
        DeltaTable.create(lake.uri(name), wanted, partition_by=[partition_column], storage_options=lake.storage_options)
        log.info("delta_table_created table=%s columns=%d", name, len(wanted.fields))
        return
    present = {field.name: field for field in table.schema().fields}
    for field in wanted.fields:
        if field.name in present and field.type != present[field.name].type:
            raise PermanentError(
                f"Column `{field.name}` of `{lake.uri(name)}` is {present[field.name].type} and would become"
                f" {field.type}. Give the new type a new column name, or delete the table and backfill it."
            )
    missing = [field for field in wanted.fields if field.name not in present]
    if missing:
        table.alter.add_columns(missing)
        log.info("delta_columns_added table=%s columns=%s", name, ",".join(field.name for field in missing))


def replace_partition(df: DataFrame, lake: Lake, name: str, partition_column: str, day: date) -> int:
    """Replace one date of a table by `df` in one commit, also by nothing.

    Args:
        df: All columns but the partition's.
        name: The table's path below the lake's root.
        partition_column: The date column; it becomes the last one.

    Returns:
        The rows that the commit says it wrote.
    """
    # The literal is the last step, because Sail writes a row of another date where it belongs and does not refuse
    # it as Delta on Spark does.
    dated = df.drop(partition_column).withColumn(partition_column, F.lit(day))
    prepare(lake, name, dated.schema, partition_column)
    (
        _aligned(dated, lake, name)
        .write.format("delta")
        .mode("overwrite")
        .partitionBy(partition_column)
        .option("replaceWhere", f"{partition_column} = '{day.isoformat()}'")
        .save(lake.spark_uri(name))
    )
    return _last_metrics(lake, name).get("numOutputRows", 0)


def merge_partition(
    spark: SparkSession, df: DataFrame, lake: Lake, name: str, keys: Sequence[str], day: date
) -> MergeCounts:
    """Make one date of a table equal to `df` by one MERGE: update, insert, delete.

    The date is a literal in the condition, so that neither engine reads or rewrites another date's files. A group
    that no longer exists comes as a source row of its own, flagged to be deleted: `WHEN NOT MATCHED BY SOURCE` would
    say the same, and Delta on Spark then rewrites the files of every other date too. Keys are compared null-safe and
    a row is updated only where a value differs, so merging the same twice changes nothing.

    Args:
        spark: The session of `df`.
        df: All of the date's rows, each combination of keys once.
        name: The table's path below the lake's root.
        keys: The merge keys; the first is the partition column.
    """
    partition_column = keys[0]
    dated = df.withColumn(partition_column, F.lit(day))
    prepare(lake, name, dated.schema, partition_column)
    rows = _aligned(dated, lake, name)
    source = _with_vanished(rows, lake, name, keys, day)
    literal = f"date'{day.isoformat()}'"
    on = [f"t.`{partition_column}` = {literal}", *[f"t.`{key}` <=> s.`{key}`" for key in keys[1:]]]
    values = [column for column in rows.columns if column not in keys]
    differs = " or ".join(f"not (t.`{column}` <=> s.`{column}`)" for column in values)
    assigned = ", ".join(f"`{column}` = s.`{column}`" for column in values)
    columns = ", ".join(f"`{column}`" for column in rows.columns)
    view = f"merge_source_{uuid.uuid4().hex}"
    before = _version(lake, name)
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
    if _version(lake, name) == before:
        # Sail commits nothing when nothing changed; Spark commits a rewrite of the same rows.
        return MergeCounts()
    metrics = _last_metrics(lake, name)
    return MergeCounts(
        metrics.get("numTargetRowsInserted", 0),
        metrics.get("numTargetRowsUpdated", 0),
        metrics.get("numTargetRowsDeleted", 0),
    )


def take_back(lake: Lake, name: str, version: int | None) -> None:
    """Return a table to a version that it had; without one, to no rows. Nobody else may write it meanwhile."""
    table = _open(lake, name)
    if table is None or table.version() == version:
        return
    if version is None:
        table.delete()
    else:
        table.restore(version)
    log.warning("delta_table_taken_back table=%s to_version=%s", name, version)


def _with_vanished(rows: DataFrame, lake: Lake, name: str, keys: Sequence[str], day: date) -> DataFrame:
    """Return the rows, and one flagged row for each key that the table's date has and they have not."""
    stored = rows.sparkSession.read.format("delta").load(lake.spark_uri(name)).where(F.col(keys[0]) == F.lit(day))
    there, here = stored.alias("there"), rows.select(*keys).alias("here")
    same = [F.col(f"there.{key}").eqNullSafe(F.col(f"here.{key}")) for key in keys]
    vanished = there.join(here, functools.reduce(operator.and_, same), "left_anti")
    return rows.withColumn(_VANISHED, F.lit(False)).unionByName(vanished.withColumn(_VANISHED, F.lit(True)))


def exists(lake: Lake, name: str) -> bool:
    """Return whether the table has been created."""
    return DeltaTable.is_deltatable(lake.uri(name), storage_options=lake.storage_options)


def has_partition(lake: Lake, name: str, partition_column: str, day: date) -> bool:
    """Return whether the table has a file for the date."""
    table = _open(lake, name)
    return table is not None and {partition_column: day.isoformat()} in table.partitions()


def _open(lake: Lake, name: str) -> DeltaTable | None:
    return lake.delta(name) if exists(lake, name) else None


def _version(lake: Lake, name: str) -> int:
    return lake.delta(name).version()


def _last_metrics(lake: Lake, name: str) -> dict[str, int]:
    history = lake.delta(name).history(1)
    metrics = history[0].get("operationMetrics", {}) if history else {}
    return {key: int(value) for key, value in metrics.items() if str(value).isdigit()}


def _aligned(df: DataFrame, lake: Lake, name: str) -> DataFrame:
    """Return `df` with exactly the table's columns and types; a column that it lacks is NULL.

    `UPDATE SET *` needs every column. The table's type also matters inside: Sail 0.7 replaces a date by a union of
    kept and new rows, and refuses an array whose elements have another internal name than those read from Delta. A
    union that begins with no rows of the table gives the new ones its types, in both engines, and Spark drops it.
    """
    no_rows = df.sparkSession.read.format("delta").load(lake.spark_uri(name)).limit(0)
    return no_rows.unionByName(df, allowMissingColumns=True)


def _nullable(node: object) -> object:
    """Return a schema's JSON with every field and element nullable: a literal column is not a constraint."""
    if isinstance(node, dict):
        return {
            key: True if key in ("nullable", "containsNull", "valueContainsNull") else _nullable(value)
            for key, value in node.items()
        }
    return [_nullable(item) for item in node] if isinstance(node, list) else node
