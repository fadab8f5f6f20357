"""Gold → warehouse, a date: the same rows and the same exact sums in each table.

The load compares the same totals inside its transaction, and `of_loads` is the stage's answer by that comparison;
`compare` finds what happened to the tables afterwards, and names the keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from audit.dates import open_table
from audit.report import MAX_NAMED, CheckOutcome, Equation, Kind, Problem, Stage, StageResult
from audit.warehouse_tables import WarehouseTables
from platform_core.domain.catalog import Domain
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

    Raises:
        TransientError: the warehouse or the store did not answer.
    """
    problems: list[Problem] = []
    in_gold = in_warehouse = missing = surplus = 0
    for table, keys in domain.gold.tables.items():
        gold = _gold(lake, domain, table, day)
        totals = warehouse.totals(table, day, gold.schema)
        in_gold, in_warehouse = in_gold + gold.num_rows, in_warehouse + totals.rows
        if totals == totals_of_gold(gold):
            continue
        rows = _BothSides.read(warehouse, table, keys, gold, day)
        missing, surplus = missing + len(rows.missing), surplus + rows.surplus
        problems += _problems(domain, day, table, rows)
    return StageResult(
        Stage.WAREHOUSE, domain.name, day, _equations(in_gold, in_warehouse, missing, surplus), {}, tuple(problems)
    )


def _equations(in_gold: int, in_warehouse: int, missing: int, surplus: int) -> tuple[Equation, Equation]:
    return (
        Equation("gold rows", in_gold, {"warehouse": in_warehouse - surplus, Kind.MISSING: missing}),
        Equation("warehouse rows", in_warehouse, {"gold": in_gold - missing, Kind.PHANTOM: surplus}),
    )


def _gold(lake: Lake, domain: Domain, table: str, day: date) -> pa.Table:
    delta = open_table(lake, lake.gold(domain, table))
    if delta is None:
        return pa.table({})
    return delta.to_pyarrow_table(filters=[(domain.partition_key, "=", day)])


@dataclass(frozen=True)
class _BothSides:
    """One date of one table: the rows of Gold by key, and those of the warehouse.

    Attributes:
        keys: The merge keys.
        columns: The columns that both sides have.
        lacking: The columns that the warehouse's table does not have.
        gold: Gold's rows by key.
        loaded: The warehouse's rows.
    """

    keys: Sequence[str]
    columns: Sequence[str]
    lacking: Sequence[str]
    gold: dict[Key, Row]
    loaded: Sequence[Row]
    counted: Counter[Key]

    @staticmethod
    def read(warehouse: WarehouseTables, table: str, keys: Sequence[str], gold: pa.Table, day: date) -> _BothSides:
        present = warehouse.columns(table)
        columns = [name for name in gold.column_names if ddl.identifier(name) in present]
        loaded = warehouse.rows(table, columns, day)
        return _BothSides(
            keys,
            columns,
            [name for name in gold.column_names if present and name not in columns],
            {_key(row, keys): row for row in gold.to_pylist()},
            loaded,
            Counter(_key(row, keys) for row in loaded),
        )

    @property
    def missing(self) -> list[Key]:
        return sorted(self.gold.keys() - self.counted.keys(), key=str)

    @property
    def unknown(self) -> list[Key]:
        return sorted(self.counted.keys() - self.gold.keys(), key=str)

    @property
    def doubled(self) -> list[Key]:
        return sorted((key for key, count in self.counted.items() if count > 1 and key in self.gold), key=str)

    @property
    def surplus(self) -> int:
        """Rows of the warehouse beyond one for each key of Gold."""
        return len(self.loaded) - len(self.gold.keys() & self.counted.keys())

    def unequal(self) -> Iterator[str]:
        """Yield the first column that differs of each row whose key both sides have."""
        for row in self.loaded:
            gold = self.gold.get(_key(row, self.keys))
            name = next((name for name in self.columns if gold and _plain(row[name]) != _plain(gold[name])), None)
            if gold is not None and name is not None:
                yield f"{self.named(_key(row, self.keys))} ({name}: Gold {gold[name]}, warehouse {row[name]})"

    def named(self, key: Key) -> str:
        return " ".join(f"{name}={value}" for name, value in zip(self.keys, key, strict=True))


def _problems(domain: Domain, day: date, table: str, rows: _BothSides) -> list[Problem]:
    counted, unequal = rows.counted, list(rows.unequal())
    listed = (
        (Kind.MISSING, len(rows.missing), map(rows.named, rows.missing), "in Gold, not in the warehouse"),
        (
            Kind.PHANTOM,
            sum(counted[key] for key in rows.unknown),
            map(rows.named, rows.unknown),
            "in the warehouse, not in Gold",
        ),
        (
            Kind.DUPLICATE,
            sum(counted[key] - 1 for key in rows.doubled),
            map(rows.named, rows.doubled),
            "more than once in the warehouse",
        ),
        (Kind.DIFFERS, len(unequal), unequal, "another value in the warehouse than in Gold"),
        (Kind.DIFFERS, len(rows.lacking), rows.lacking, "columns that the warehouse's table does not have"),
    )
    return [
        Problem(
            Stage.WAREHOUSE,
            domain.name,
            day,
            kind,
            count,
            keys=tuple(named)[:MAX_NAMED],
            detail=f"table `{table}`: {detail}",
        )
        for kind, count, named, detail in listed
        if count
    ]


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
