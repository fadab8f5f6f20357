"""What the audit asks of the warehouse: dates, totals and rows of a domain's tables.

It only reads; what the answers must agree with is decided in `gold_to_warehouse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import pyarrow as pa

from platform_core.domain.catalog import Domain
from platform_core.partitions.date_range import DateRange
from warehouse import ddl
from warehouse.load import Connection, WarehouseUnavailableError
from warehouse.totals import Totals, scales, totals_of_warehouse

MEASURE_TYPES = ("NUMBER", "DECIMAL", "FIXED")


class WarehouseTables:
    """The Gold tables of one domain in the warehouse.

    Args:
        connection: An open connection.
        database: The database of the Gold schemas.
        domain: The domain.

    Raises:
        WarehouseUnavailableError: the warehouse did not answer; so does every method.
    """

    def __init__(self, connection: Connection, database: str, domain: Domain) -> None:
        self._domain = domain
        self._database = database
        with _translated_errors():
            self._cursor = connection.cursor()
        self._types = self._column_types()

    def columns(self, table: str) -> frozenset[str]:
        """Return a table's columns but those that the load adds; none if there is no such table."""
        return frozenset(self._types.get(ddl.name(table), {}))

    def dates(self, within: DateRange) -> set[date]:
        """Return the dates of a range that the domain's tables have rows of."""
        key = ddl.identifier(self._domain.partition_key)
        ends = ((">=", within.first), ("<=", within.last))
        of_range = " AND ".join(f"{key} {sign} '{day.isoformat()}'" for sign, day in ends if day is not None)
        condition = of_range or f"{key} IS NOT NULL"
        return {
            day
            for table in self._domain.gold.tables
            if self.columns(table)
            for (day,) in self._query(f"SELECT DISTINCT {key} FROM {self._name(table)} WHERE {condition}")
        }

    def totals(self, table: str, day: date, gold: pa.Schema) -> Totals:
        """Return the rows of one date and the exact sums of the numbers that Gold has too."""
        types = self._types.get(ddl.name(table), {})
        if not types:
            return Totals(0)
        measures = {name: scale for name, scale in scales(gold).items() if types.get(name) in MEASURE_TYPES}
        with _translated_errors():
            return totals_of_warehouse(self._cursor, self._name(table), measures, self._dated(day))

    def rows(self, table: str, columns: Sequence[str], day: date) -> list[dict[str, Any]]:
        """Return some columns of one date."""
        if not columns:
            return []
        listed = ", ".join(ddl.identifier(name) for name in columns)
        rows = self._query(f"SELECT {listed} FROM {self._name(table)} WHERE {self._dated(day)}")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def group(self, table: str, group: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows that have the values of some columns, by column."""
        condition = " AND ".join(f"{ddl.identifier(key)} = %({key})s" for key in group)
        values = {key: value.isoformat() if isinstance(value, date) else value for key, value in group.items()}
        rows = self._query(f"SELECT * FROM {self._name(table)} WHERE {condition}", values)
        names = [column[0].lower() for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def count(self, table: str, column: str, value: object) -> tuple[int, int]:
        """Return all rows of a table, and those whose column has a value; a table without the column has none."""
        if not self.columns(table):
            return 0, 0
        matching = "0"
        if ddl.name(column) in self.columns(table):
            matching = f"COUNT_IF(TO_VARCHAR({ddl.identifier(column)}) = {ddl.literal(str(value))})"
        ((rows, of_value),) = self._query(f"SELECT COUNT(*), {matching} FROM {self._name(table)}")
        return int(rows), int(of_value)

    def _column_types(self) -> dict[str, dict[str, str]]:
        schema = ddl.literal(ddl.name(self._domain.warehouse_schema))
        columns = ddl.identifier(self._database, "INFORMATION_SCHEMA", "COLUMNS")
        rows = self._query(f"SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM {columns} WHERE TABLE_SCHEMA = {schema}")
        types: dict[str, dict[str, str]] = {}
        for table, column, kind in rows:
            if not str(column).startswith("_"):  # the load's own columns
                types.setdefault(str(table).upper(), {})[str(column).upper()] = str(kind).upper().partition("(")[0]
        return types

    def _name(self, table: str) -> str:
        return ddl.identifier(self._database, self._domain.warehouse_schema, table)

    def _dated(self, day: date) -> str:
        return f"{ddl.identifier(self._domain.partition_key)} = '{day.isoformat()}'"

    def _query(self, statement: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with _translated_errors():
            return [tuple(row) for row in self._cursor.execute(statement, values).fetchall()]


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn the connector's errors into `WarehouseUnavailableError`."""
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        raise WarehouseUnavailableError(
            f"The warehouse did not answer a query: {error.msg}. Check SNOWFLAKE_* and that it is up, then run the"
            " audit again."
        ) from error
