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
    row = spark.sql(f"select count(*), {nulls} {where}").collect()[0]
    keys = spark.sql(f"select count(*) from (select distinct {key} {where})").collect()[0][0]
    rows, null_counts = row[0], dict(zip(required, row[1:], strict=True))
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
    for table, keys in domain.gold.tables.items():
        gold = f"from delta.`{lake.spark_uri(lake.gold(domain, table))}` where `{domain.partition_key}` = date'{day}'"
        listed = ", ".join(f"`{key}`" for key in keys)
        any_null = " or ".join(f"`{key}` is null" for key in keys)
        rows, nulls = spark.sql(f"select count(*), count(case when {any_null} then 1 end) {gold}").collect()[0]
        distinct = spark.sql(f"select count(*) from (select distinct {listed} {gold})").collect()[0][0]
        outcomes.append(
            CheckOutcome(
                "gold",
                table,
                "unique_key",
                distinct == rows and not nulls,
                {"rows": rows, "distinct_keys": distinct, "null_keys": nulls},
            )
        )
        pairs = [item for item in domain.gold.reconcile if item.table == table]
        facts, passed = {}, True
        if pairs:
            there = spark.sql(f"select {', '.join(p.gold for p in pairs)} {gold}").collect()[0]
            source = spark.sql(f"select {', '.join(p.silver for p in pairs)} {silver}").collect()[0]
            for pair, a, b in zip(pairs, there, source, strict=True):
                facts[pair.gold] = {"gold": str(a), "silver": str(b)}
                passed = passed and _number(a) == _number(b)
        outcomes.append(CheckOutcome("gold", table, "reconciles_with_silver", passed, facts))
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
