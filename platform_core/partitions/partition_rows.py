"""Reading the table of partition_meta at one version: whole rows, rows without their file lists, states alone.

What is read follows what is asked for: of a date that nobody asks for only the state is read. Opening the table and
changing it belong to `partition_meta_delta`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from platform_core.lake.contended_table import ContendedTable, python_values
from platform_core.lake.row_schema import schema_of
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

META_SCHEMA = schema_of(Partition)

WITHOUT_FILES = [name for name in META_SCHEMA.names if name != "source_files"]

LEGAL = {state.value: state for state in State if state not in (State.UNDISCOVERED, State.ILLEGAL)}


class PartitionRows:
    """The rows of partition_meta at one version of its table.

    Args:
        meta: The table.
        table: Its version; None reads as a table without rows.
    """

    def __init__(self, meta: ContendedTable, table: DeltaTable | None) -> None:
        self._meta = meta
        self._table = table

    def get(self, domain: str, day: date) -> Partition | None:
        """Return one row with its file list, or None."""
        rows = self.whole({domain}, {day})
        return rows[0] if rows else None

    def whole(self, domains: Collection[str], days: Collection[date]) -> list[Partition]:
        """Return rows with their file lists, those of all the domains and dates."""
        read = self._read(("domain", "in", sorted(domains)), ("partition_date", "in", sorted(days)))
        return [_partition(row) for row in read]

    def rows(self, domain: str | None = None, days: Collection[date] | None = None) -> list[Partition]:
        """Return rows by domain and date, without their file lists.

        Args:
            domain: Of this one; of all by default.
            days: Of these dates; of all by default.
        """
        if days is not None and not days:
            return []
        chosen = None if days is None else sorted(days)
        read = self._read(("domain", "=", domain), ("partition_date", "in", chosen), columns=WITHOUT_FILES)
        return sorted((_partition(row) for row in read), key=lambda p: (p.domain, p.partition_date))

    def states(self, domain: str | None = None) -> dict[tuple[str, date], State]:
        """Return the state of each date, by domain and date; see `rows`."""
        if self._table is None:
            return {}
        read = self._meta.read(
            ("domain", "=", domain), columns=["domain", "partition_date", "status"], table=self._table
        )
        read = read.sort_by([("domain", "ascending"), ("partition_date", "ascending")])
        keys = zip(_repeated(read["domain"]), python_values(read["partition_date"]), strict=True)
        states = _repeated(read["status"], lambda status: LEGAL.get(status, State.ILLEGAL))
        return dict(zip(keys, states, strict=True))

    def _read(self, *filters: tuple[str, str, Any], columns: Collection[str] = ()) -> list[dict[str, Any]]:
        if self._table is None:
            return []
        return self._meta.rows(*filters, columns=list(columns), table=self._table)


def _repeated(column: pa.ChunkedArray, of: Callable[[str], Any] = str) -> list[Any]:
    """Return a column of few values, each made once: a text of its own for each of years of dates costs more."""
    encoded = column.combine_chunks().dictionary_encode()
    values = [of(value) for value in encoded.dictionary.to_pylist()]
    return [values[index] for index in encoded.indices.to_pylist()]


def _partition(row: dict[str, Any]) -> Partition:
    status, message = row["status"], row["error_message"]
    if status not in LEGAL:
        message = f"Its status is `{status}`; legal are {', '.join(LEGAL)}. Reset the date, or correct it by SQL."
        status = State.ILLEGAL
    return Partition(
        **{
            **row,
            "status": State(status),
            "error_message": message,
            "source_files": tuple(row.get("source_files") or ()),
            "retry_count": row["retry_count"] or 0,
        }
    )
