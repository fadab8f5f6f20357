"""Whether two lakes hold the same date of events: every column of Silver, quarantine and Gold, row by row."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
from deltalake import DeltaTable

TABLES = ("silver/events", "silver/events_quarantine", "gold/events", "gold/events_funnel")


def differences(one: Path, other: Path, day: date) -> list[str]:
    """Return each table and column in which two lakes differ, in words; nothing when all rows are equal.

    Rows are compared in no order, each as often as it occurs, and a value by its text, so that an engine may write
    another integer type.
    """
    different = []
    for name in TABLES:
        connection = duckdb.connect()
        connection.execute("set timezone = 'UTC'")
        for alias, lake in (("one", one), ("other", other)):
            connection.register(alias, DeltaTable(lake / name).to_pyarrow_dataset())
        columns, others = (set(connection.table(alias).columns) for alias in ("one", "other"))
        if columns != others:
            different.append(f"{name} has the columns {sorted(columns)} and {sorted(others)}")
            continue
        rows = {alias: _fingerprint(connection, alias, sorted(columns), day) for alias in ("one", "other")}
        if rows["one"] != rows["other"]:
            unequal = [
                column
                for column in sorted(columns)
                if len({_fingerprint(connection, alias, [column], day) for alias in rows}) > 1
            ]
            counts = " and ".join(str(count) for count, _ in rows.values())
            different.append(f"{name} differs in {', '.join(unequal) or 'rows'}; rows are {counts}")
    return different


def _fingerprint(
    connection: duckdb.DuckDBPyConnection, table: str, columns: list[str], day: date
) -> tuple[int, int | None]:
    """Return the number of a date's rows and the sum of their hashes."""
    values = ", ".join(f'coalesce("{column}"::varchar, chr(0))' for column in columns)
    query = f"select count(*), sum(hash([{values}])::hugeint) from {table} where event_date = ?"
    [row] = connection.execute(query, [day]).fetchall()
    return row[0], row[1]
