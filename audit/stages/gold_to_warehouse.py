"""Gold → warehouse, a date: the same rows and the same exact sums in each table.

The load compares the same totals inside its transaction, and `of_loads` is the stage's answer by that comparison;
`compare` finds what happened to the tables afterwards, and names the keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from audit.report import CheckOutcome, Equation, Kind, Problem, Reason, Stage, StageResult, problems_of
from audit.warehouse_tables import WarehouseTables
from platform_core.domain.catalog import Domain
from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from warehouse import ddl
from warehouse.load import TableLoad
from warehouse.totals import totals_of_gold

Key = tuple[Any, ...]
Row = dict[str, Any]


def of_loads(domain: Domain, day: date, loads: Sequence[TableLoad]) -> StageResult:
    """Return the result of a date that has just been loaded: a load that found a difference was rolled back."""
    rows = sum(load.rows for load in loads)
    facts = {load.table: {"rows": load.rows, "changed": load.changed} for load in loads}
    outcome = CheckOutcome("snowflake", domain.name, "reconciles_with_gold", True, facts)
    return StageResult(Stage.WAREHOUSE, domain.name, day, _equations(rows, rows, 0, 0), checks=(outcome,))


def compare(lake: Lake, domain: Domain, day: date, warehouse: WarehouseTables) -> StageResult:
    """Compare one date of the Gold tables with the warehouse's.

    What was loaded of a date before the domain's first one outlives a lake that was lost: nothing makes it again.

    Raises:
        TransientError: the warehouse or the store did not answer.
    """
    of_day = {table: _gold(lake, domain, table, day) for table in domain.gold.tables}
    if day < domain.start_date and not any(gold.num_rows for gold in of_day.values()):
        kept = sum(warehouse.totals(table, day, gold.schema).rows for table, gold in of_day.items())
        of_the_warehouse = Equation("warehouse rows", kept, {Reason.BEFORE_START_DATE: kept})
        return StageResult(Stage.WAREHOUSE, domain.name, day, (Equation("gold rows", 0, {}), of_the_warehouse))
    problems: list[Problem] = []
    in_gold = in_warehouse = missing = surplus = 0
    for table, keys in domain.gold.tables.items():
        gold = of_day[table]
        totals = warehouse.totals(table, day, gold.schema)
        in_gold, in_warehouse = in_gold + gold.num_rows, in_warehouse + totals.rows
        if totals == totals_of_gold(gold):
            continue
        # Of a table that Gold does not have the keys say what is in the warehouse.
        columns = [name for name in gold.column_names or keys if ddl.name(name) in warehouse.columns(table)]
        by_key = {_key(row, keys): row for row in gold.to_pylist()}
        loaded = warehouse.rows(table, columns, day)
        counted = Counter(_key(row, keys) for row in loaded)
        missing += len(by_key.keys() - counted.keys())
        surplus += len(loaded) - len(by_key.keys() & counted.keys())
        listed = _differences(keys, columns, by_key, loaded, counted)
        if columns:
            lacking = [name for name in gold.column_names if name not in columns]
            listed.append((Kind.DIFFERS, lacking, "columns that the warehouse's table does not have"))
        described = [(kind, some, f"table `{table}`: {detail}") for kind, some, detail in listed]
        problems += problems_of(Stage.WAREHOUSE, domain.name, day, described)
    equations = _equations(in_gold, in_warehouse, missing, surplus)
    return StageResult(Stage.WAREHOUSE, domain.name, day, equations, problems=tuple(problems))


def _gold(lake: Lake, domain: Domain, table: str, day: date) -> pa.Table:
    delta = lake.delta_or_none(lake.gold(domain, table))
    return read_date(lake, delta, domain.partition_key, day) if delta else pa.table({})


def _differences(
    keys: Sequence[str], columns: Sequence[str], gold: dict[Key, Row], loaded: Sequence[Row], counted: Counter[Key]
) -> list[tuple[Kind, list[str], str]]:
    """Return the rows of one date and table that differ: a row each, named by its key."""
    again = counted - Counter(counted.keys())

    def named(rows: Iterable[Key]) -> list[str]:
        texts = (" ".join(f"{name}={value}" for name, value in zip(keys, key, strict=True)) for key in rows)
        return sorted(texts)

    unequal = []
    for row in loaded:
        key = _key(row, keys)
        of_gold = gold.get(key, row)
        name = next((name for name in columns if _plain(row[name]) != _plain(of_gold[name])), None)
        if name is not None:
            unequal += [f"{text} ({name}: Gold {of_gold[name]}, warehouse {row[name]})" for text in named([key])]
    return [
        (Kind.MISSING, named(gold.keys() - counted.keys()), "in Gold, not in the warehouse"),
        (Kind.PHANTOM, named(key for key in counted.elements() if key not in gold), "in the warehouse, not in Gold"),
        (Kind.DUPLICATE, named(key for key in again.elements() if key in gold), "more than once in the warehouse"),
        (Kind.DIFFERS, unequal, "another value in the warehouse than in Gold"),
    ]


def _equations(in_gold: int, in_warehouse: int, missing: int, surplus: int) -> tuple[Equation, Equation]:
    return (
        Equation("gold rows", in_gold, {"warehouse": in_warehouse - surplus, Kind.MISSING: missing}),
        Equation("warehouse rows", in_warehouse, {"gold": in_gold - missing, Kind.PHANTOM: surplus}),
    )


def _key(row: Row, keys: Collection[str]) -> Key:
    return tuple(_plain(row.get(key)) for key in keys)


def _plain(value: Any) -> Any:
    """Return a value as both sides have it: numbers as decimals, times in UTC without a zone."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
