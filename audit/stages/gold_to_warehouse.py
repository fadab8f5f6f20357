"""Gold → warehouse: of each table and date the same number of rows, and the same exact sum of every numeric column.

Only reading and comparing belong here; the load, which compares inside its own transaction, is in
`warehouse`. This finds what happened to the tables after that transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from audit.dates import COMPARABLE, open_table, while_unchanged
from audit.report import MAX_NAMED, Equation, Kind, Problem, Reason, Stage, StageResult
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from warehouse import ddl
from warehouse.load import Connection, WarehouseUnavailableError


class WarehouseCheck:
    """Compares the dates of one domain.

    Args:
        connection: An open connection to the warehouse.
        database: The database of the Gold schemas.

    Raises:
        WarehouseUnavailableError: the warehouse did not answer.
    """

    def __init__(
        self, domain: Domain, lake: Lake, partitions: PartitionMetaReader, connection: Connection, database: str
    ) -> None:
        self._domain = domain
        self._lake = lake
        self._partitions = partitions
        with explained():
            self._cursor = connection.cursor()
        self._database = ddl.identifier(database)
        self._columns = self._present()

    def dates(self) -> set[date]:
        """Return the dates that the domain's tables have rows of."""
        key = ddl.identifier(self._domain.partition_key)
        found: set[date] = set()
        for table in self._domain.gold.tables:
            if self._columns.get(ddl.identifier(table)):
                rows = self._query(f"SELECT DISTINCT {key} FROM {self._name(table)}")
                found.update(day for (day,) in rows if day is not None)
        return found

    def check(self, day: date) -> StageResult:
        """Compare one date, as its state allows: one that is not DONE or LATE is not processed yet.

        Raises:
            TransientError: the warehouse or the store did not answer, or the date did not rest.
        """

        def look(row: Partition | None) -> StageResult:
            if row is None or row.status not in COMPARABLE:
                return StageResult(Stage.WAREHOUSE, self._domain.name, day, (), {Reason.NOT_PROCESSED_YET: 1})
            return self.compare(day)

        return while_unchanged(self._partitions, self._domain, day, look)

    def compare(self, day: date) -> StageResult:
        """Compare one date, whatever its state."""
        problems: list[Problem] = []
        rows = there = missing = extra = 0
        for table, keys in self._domain.gold.tables.items():
            count, found = self._totals(table, day)
            gold = self._gold(table, day)
            rows, there = rows + gold.num_rows, there + count
            if found == _totals_of(gold) and count == gold.num_rows:
                continue
            some, lacking, surplus = self._differences(table, keys, gold, day)
            problems += some
            missing, extra = missing + lacking, extra + surplus
        equations = (
            Equation("gold rows", rows, {"warehouse": there - extra, Kind.MISSING: missing}),
            Equation("warehouse rows", there, {"gold": rows - missing, Kind.PHANTOM: extra}),
        )
        return StageResult(Stage.WAREHOUSE, self._domain.name, day, equations, {}, tuple(problems))

    def _gold(self, table: str, day: date) -> pa.Table:
        delta = open_table(self._lake, self._lake.gold(self._domain, table))
        if delta is None:
            return pa.table({})
        return delta.to_pyarrow_table(filters=[(self._domain.partition_key, "=", day)])

    def _totals(self, table: str, day: date) -> tuple[int, dict[str, Decimal]]:
        """Return the rows of a date and the sum of each column that is a number."""
        present = self._columns.get(ddl.identifier(table), {})
        if not present:
            return 0, {}
        measures = sorted(name for name, kind in present.items() if kind in ("NUMBER", "DECIMAL", "FIXED"))
        listed = ", ".join(["COUNT(*)", *(f"SUM({name})" for name in measures)])
        [row] = self._query(f"SELECT {listed} FROM {self._name(table)} WHERE {self._dated(day)}")
        return int(row[0]), {name: _exact(value) for name, value in zip(measures, row[1:], strict=True)}

    def _differences(
        self, table: str, keys: Sequence[str], gold: pa.Table, day: date
    ) -> tuple[list[Problem], int, int]:
        present = self._columns.get(ddl.identifier(table), {})
        columns = [name for name in gold.column_names if ddl.identifier(name) in present]
        lost = [name for name in gold.column_names if present and ddl.identifier(name) not in present]
        listed = ", ".join(ddl.identifier(name) for name in columns)
        here = {_key(row, keys): row for row in gold.to_pylist()}
        rows = (
            [
                dict(zip(columns, row, strict=True))
                for row in self._query(f"SELECT {listed} FROM {self._name(table)} WHERE {self._dated(day)}")
            ]
            if columns
            else []
        )
        counted = Counter(_key(row, keys) for row in rows)
        missing = sorted(here.keys() - counted.keys(), key=str)
        unknown = sorted(counted.keys() - here.keys(), key=str)
        twice = sorted((key for key, count in counted.items() if count > 1 and key in here), key=str)
        other = []
        for row in rows:
            key = _key(row, keys)
            unequal = [name for name in columns if key in here and _plain(row[name]) != _plain(here[key][name])]
            if unequal:
                name = unequal[0]
                other.append(f"{_named(keys, key)} ({name}: Gold {here[key][name]}, warehouse {row[name]})")
        found = [
            (Kind.MISSING, len(missing), [_named(keys, key) for key in missing], "in Gold, not in the warehouse"),
            (
                Kind.PHANTOM,
                sum(counted[key] for key in unknown),
                [_named(keys, key) for key in unknown],
                "in the warehouse, not in Gold",
            ),
            (
                Kind.DUPLICATE,
                sum(counted[key] - 1 for key in twice),
                [_named(keys, key) for key in twice],
                "more than once in the warehouse",
            ),
            (Kind.DIFFERS, len(other), other, "another value in the warehouse than in Gold"),
            (Kind.DIFFERS, len(lost), lost, "columns that the warehouse's table does not have"),
        ]
        problems = [
            Problem(
                Stage.WAREHOUSE,
                self._domain.name,
                day,
                kind,
                count,
                keys=tuple(named[:MAX_NAMED]),
                detail=f"table `{table}`: {detail}",
            )
            for kind, count, named, detail in found
            if count
        ]
        surplus = len(rows) - len(here.keys() & counted.keys())
        return problems, len(missing), surplus

    def _present(self) -> dict[str, dict[str, str]]:
        schema = ddl.literal(self._domain.warehouse_schema)
        rows = self._query(
            f"SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM {self._database}.INFORMATION_SCHEMA.COLUMNS"
            f" WHERE TABLE_SCHEMA = {schema}"
        )
        result: dict[str, dict[str, str]] = {}
        for table, column, kind in rows:
            if not str(column).startswith("_"):  # the load's own columns
                result.setdefault(str(table).upper(), {})[str(column).upper()] = str(kind).upper().partition("(")[0]
        return result

    def _name(self, table: str) -> str:
        return f"{self._database}.{ddl.identifier(self._domain.warehouse_schema)}.{ddl.identifier(table)}"

    def _dated(self, day: date) -> str:
        return f"{ddl.identifier(self._domain.partition_key)} = '{day.isoformat()}'"

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        with explained():
            return [tuple(row) for row in self._cursor.execute(statement).fetchall()]


@contextmanager
def explained() -> Iterator[None]:
    """Turn the connector's errors into `WarehouseUnavailableError`."""
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        raise WarehouseUnavailableError(
            f"The warehouse did not answer a query: {error.msg}. Check SNOWFLAKE_* and that it is up, then run the"
            " audit again."
        ) from error


def _totals_of(gold: pa.Table) -> dict[str, Decimal]:
    return {
        ddl.identifier(field.name): _exact(pc.sum(gold.column(field.name)).as_py())
        for field in sorted(gold.schema, key=lambda field: ddl.identifier(field.name))
        if pa.types.is_integer(field.type) or pa.types.is_decimal(field.type)
    }


def _exact(value: Any) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _key(row: dict[str, Any], keys: Collection[str]) -> tuple[Any, ...]:
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


def _named(keys: Sequence[str], key: tuple[Any, ...]) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(keys, key, strict=True))
