"""Silver, quarantine and Gold as Delta tables: create, evolve, replace a date, take a commit back.

Every commit that adds rows to those tables is made here or, for Gold, in `gold_merge`. Rows come from Spark or Sail; a
table's schema is created and widened by delta-rs, because Sail ignores `mergeSchema` without a word and has no `ALTER
TABLE ADD COLUMNS`, and one way that works under both engines is better than two.
"""

from __future__ import annotations

import json
import logging
from datetime import date

import pyarrow as pa
from deltalake import DeltaTable, Schema, write_deltalake
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from spark_jobs.writing import few_rows

log = logging.getLogger(__name__)


def prepare(lake: Lake, name: str, schema: str, partition_column: str) -> DeltaTable:
    """Create the table, or add the columns that it lacks, and return it as it is then.

    One writer a table is assumed, as everywhere: two at once would both commit version 0, of which one fails.

    Args:
        name: The table's path below the lake's root.
        schema: The columns that are going to be written, in the JSON that Delta and Spark both write.
        partition_column: The date column, for a new table.

    Raises:
        PermanentError: a column has another type in the table.
    """
    wanted = Schema.from_json(json.dumps(_nullable(json.loads(schema))))
    table = lake.delta_or_none(name)
    if table is None:
        table = DeltaTable.create(
            lake.uri(name), wanted, partition_by=[partition_column], storage_options=lake.storage_options
        )
        log.info("delta_table_created table=%s columns=%d", name, len(wanted.fields))
        return table
    present = {field.name: field for field in table.schema().fields}
    for field in wanted.fields:
        if field.name in present and field.type != present[field.name].type:
            raise PermanentError(
                f"Column `{field.name}` of `{lake.uri(name)}` is {present[field.name].type} and would become"
                f" {field.type}. Give the new type a new column name, or delete the table and backfill it."
            )
    missing = [field for field in wanted.fields if field.name not in present]
    if not missing:
        return table
    table.alter.add_columns(missing)
    log.info("delta_columns_added table=%s columns=%s", name, ",".join(field.name for field in missing))
    return lake.delta(name)


def replace_partition(
    df: DataFrame, lake: Lake, name: str, partition_column: str, day: date, *, few: bool = False
) -> int:
    """Replace one date of a table by `df` in one commit, also by nothing.

    Args:
        df: All columns but the partition's.
        name: The table's path below the lake's root.
        partition_column: The date column; it becomes the last one.
        few: Whether the rows are so few that they come to this process, which writes them for less unless they turn
            out to be large.

    Returns:
        The rows that the commit wrote.
    """
    if few and (rows := few_rows.fetched(df.drop(partition_column))) is not None:
        return replace_small_partition(rows, lake, name, partition_column, day)
    # The literal is the last step, because Sail writes a row of another date where it belongs and does not refuse
    # it as Delta on Spark does.
    dated = df.drop(partition_column).withColumn(partition_column, F.lit(day))
    prepare(lake, name, dated.schema.json(), partition_column)
    (
        aligned(dated, lake, name)
        .write.format("delta")
        .mode("overwrite")
        .partitionBy(partition_column)
        .option("replaceWhere", f"`{partition_column}` = '{day.isoformat()}'")
        .save(lake.spark_uri(name))
    )
    return last_metrics(lake, name).get("numOutputRows", 0)


def replace_small_partition(rows: pa.Table, lake: Lake, name: str, partition_column: str, day: date) -> int:
    """Replace one date of a table by few rows, see `replace_partition`, by delta-rs in this process.

    A commit of some rows costs Spark 10 CPU seconds, whatever their number, Sail 2, and delta-rs 0.02.
    """
    dated = with_date(rows, partition_column, day)
    table = prepare(lake, name, Schema.from_arrow(dated.schema).to_json(), partition_column)
    predicate = f"\"{partition_column}\" = '{day.isoformat()}'"
    write_deltalake(table, aligned_rows(dated, table), mode="overwrite", predicate=predicate)
    return len(rows)


def with_date(rows: pa.Table, partition_column: str, day: date) -> pa.Table:
    """Return rows with the partition's date, whatever they said before."""
    dates = pa.array([day] * rows.num_rows, pa.date32())
    if partition_column in rows.column_names:
        return rows.set_column(rows.column_names.index(partition_column), partition_column, dates)
    return rows.append_column(partition_column, dates)


def aligned_rows(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """Return `rows` with exactly the table's columns and types; a column that they lack is NULL."""
    schema = pa.schema(table.schema().to_arrow())
    arrays = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def take_back(lake: Lake, name: str, version: int | None) -> None:
    """Return a table to a version that it had; without one, to no rows. Nobody else may write it meanwhile."""
    table = lake.delta_or_none(name)
    if table is None or table.version() == version:
        return
    if version is None:
        table.delete()
    else:
        table.restore(version)
    log.warning("delta_table_taken_back table=%s to_version=%s", name, version)


def exists(lake: Lake, name: str) -> bool:
    """Return whether the table has been created."""
    # Not `is_deltatable`, which holds the interpreter's lock as `history` does, see `last_metrics`.
    return lake.delta_or_none(name) is not None


def has_partition(lake: Lake, name: str, partition_column: str, day: date) -> bool:
    """Return whether the table has a file for the date."""
    table = lake.delta_or_none(name)
    return table is not None and {partition_column: day.isoformat()} in table.partitions()


def last_metrics(lake: Lake, name: str) -> dict[str, int]:
    """Return the numbers that the last commit says of itself."""
    # Not by delta-rs's `history`: it holds the interpreter's lock while it reads, so that a store that is slow would
    # keep the thread that renews the date's lease from it.
    commit = lake.path(f"{name}/_delta_log/{lake.delta(name).version():020}.json")
    with lake.filesystem.open_input_stream(commit, compression=None) as stream:
        actions = [json.loads(line) for line in stream.read().splitlines() if line.strip()]
    metrics = next((each["commitInfo"].get("operationMetrics") for each in actions if "commitInfo" in each), None) or {}
    return {key: int(value) for key, value in metrics.items() if str(value).isdigit()}


def aligned(df: DataFrame, lake: Lake, name: str) -> DataFrame:
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
