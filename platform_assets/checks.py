"""The asset checks of a date: contract, non-null, uniqueness, quarantine ratio, reconciliation between layers.

Each check looks at the tables as they were written, not at what the job reported. All are blocking: they stand
between Silver, Gold and the warehouse. Row-level rules belong to domains.yaml and run inside the Spark job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable

from platform_core.catalog import Domain
from platform_core.contract import Column, ColumnType
from platform_core.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_jobs.bronze_to_silver import SilverResult

SILVER_CHECKS = {
    "contract": "Silver has every scalar column of the contract with the contract's type",
    "non_null": "No required column of the contract is null in Silver",
    "unique_key": "The primary key occurs once in the date's Silver rows",
    "reconciles_with_bronze": "Bronze records = Silver rows + duplicates + quarantined, and the table has those rows",
    "quarantine_ratio": "No more rows were quarantined than domains.yaml allows",
}
GOLD_CHECKS = {
    "unique_key": "The merge keys occur once and are never null in the date's rows",
    "reconciles_with_silver": "The totals of domains.yaml are equal over Gold and over Silver",
}
WAREHOUSE_CHECKS = {
    "reconciles_with_gold": "Rows and exact sums of the date are equal in the warehouse and in Gold",
}


@dataclass(frozen=True)
class CheckOutcome:
    """One check of one date.

    Attributes:
        layer: silver, gold or snowflake.
        table: The asset's name within its layer.
        name: The check.
        passed: Whether it holds.
        facts: What was compared, for the UI.
    """

    layer: str
    table: str
    name: str
    passed: bool
    facts: dict[str, Any] = field(default_factory=dict)


def check_silver(
    spark: SparkSession, lake: Lake, domain: Domain, day: date, result: SilverResult
) -> list[CheckOutcome]:
    """Check one date of Silver against the contract and against what the job read."""
    schema = pa.schema(_table(lake, lake.silver(domain)).schema().to_arrow())
    missing, wrong = _against_contract(domain, schema)
    required = [c.name for c in domain.contract.columns if not c.nullable and c.name in schema.names]
    nulls = ", ".join(f"count(case when `{name}` is null then 1 end)" for name in required)
    key = ", ".join(f"`{name}`" for name in domain.silver.primary_key)
    where = f"from delta.`{lake.spark_uri(lake.silver(domain))}` where `{domain.partition_key}` = date'{day}'"
    rows, keys, *counts = spark.sql(
        f"select count(*), (select count(*) from (select distinct {key} {where})), {nulls} {where}"
    ).collect()[0]
    null_counts = dict(zip(required, counts, strict=True))
    quarantined = sum(result.quarantined.values())
    accounted = result.silver_rows + result.offset_duplicates + result.key_duplicates + quarantined
    ratio = quarantined / result.bronze_rows if result.bronze_rows else 0.0

    def outcome(name: str, passed: bool, **facts: Any) -> CheckOutcome:
        return CheckOutcome("silver", domain.name, name, passed, facts)

    return [
        outcome("contract", not missing and not wrong, missing=missing, wrong_type=wrong),
        outcome("non_null", not any(null_counts.values()), nulls={k: v for k, v in null_counts.items() if v}),
        outcome("unique_key", keys == rows, rows=rows, distinct_keys=keys),
        outcome(
            "reconciles_with_bronze",
            accounted == result.bronze_rows and rows == result.silver_rows,
            bronze=result.bronze_rows,
            silver=result.silver_rows,
            table=rows,
            offset_duplicates=result.offset_duplicates,
            key_duplicates=result.key_duplicates,
            quarantined=quarantined,
        ),
        outcome(
            "quarantine_ratio",
            ratio <= domain.quality.max_quarantined_ratio,
            ratio=round(ratio, 6),
            allowed=domain.quality.max_quarantined_ratio,
            by_rule=dict(result.quarantined),
        ),
    ]


def check_gold(spark: SparkSession, lake: Lake, domain: Domain, day: date) -> list[CheckOutcome]:
    """Check one date of each Gold table for its keys and against Silver."""
    outcomes = []
    silver = f"from delta.`{lake.spark_uri(lake.silver(domain))}` where `{domain.partition_key}` = date'{day}'"
    totals: dict[str, Any] = dict.fromkeys(item.silver for item in domain.gold.reconcile)
    if totals:
        totals = dict(zip(totals, spark.sql(f"select {', '.join(totals)} {silver}").collect()[0], strict=True))
    for table, keys in domain.gold.tables.items():
        gold = f"from delta.`{lake.spark_uri(lake.gold(domain, table))}` where `{domain.partition_key}` = date'{day}'"
        pairs = [item for item in domain.gold.reconcile if item.table == table]
        any_null = " or ".join(f"`{key}` is null" for key in keys)
        listed = ", ".join(f"`{key}`" for key in keys)
        columns = [
            "count(*)",
            f"count(case when {any_null} then 1 end)",
            f"(select count(*) from (select distinct {listed} {gold}))",
            *(pair.gold for pair in pairs),
        ]
        rows, null_keys, distinct, *sums = spark.sql(f"select {', '.join(columns)} {gold}").collect()[0]
        facts = {"rows": rows, "distinct_keys": distinct, "null_keys": null_keys}
        outcomes.append(CheckOutcome("gold", table, "unique_key", distinct == rows and not null_keys, facts))
        equal = all(_number(a) == _number(totals[p.silver]) for p, a in zip(pairs, sums, strict=True))
        compared = {p.gold: {"gold": str(a), "silver": str(totals[p.silver])} for p, a in zip(pairs, sums, strict=True)}
        outcomes.append(CheckOutcome("gold", table, "reconciles_with_silver", equal, compared))
    return outcomes


def _number(value: Any) -> Decimal:
    return Decimal(str(value)) if value is not None else Decimal(0)


def _table(lake: Lake, name: str) -> DeltaTable:
    return DeltaTable(lake.uri(name), storage_options=lake.storage_options or None)


def _against_contract(domain: Domain, schema: pa.Schema) -> tuple[list[str], dict[str, str]]:
    missing, wrong = [], {}
    for column in domain.contract.columns:
        if column.type.is_nested:
            continue  # the domain's Transform decides how a nested value is kept
        if column.name not in schema.names:
            missing.append(column.name)
        elif not _is_type(schema.field(column.name).type, column):
            wrong[column.name] = f"{schema.field(column.name).type} instead of {column.type}"
    return missing, wrong


def _is_type(kind: pa.DataType, column: Column) -> bool:
    match column.type:
        case ColumnType.STRING:
            return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
        case ColumnType.INTEGER:
            return bool(pa.types.is_int64(kind))
        case ColumnType.NUMBER:
            return bool(pa.types.is_float64(kind))
        case ColumnType.BOOLEAN:
            return bool(pa.types.is_boolean(kind))
        case ColumnType.DECIMAL:
            return bool(pa.types.is_decimal(kind)) and (kind.precision, kind.scale) == (column.precision, column.scale)
        case ColumnType.TIMESTAMP:
            return bool(pa.types.is_timestamp(kind))
        case ColumnType.DATE:
            return bool(pa.types.is_date(kind))
    return True
