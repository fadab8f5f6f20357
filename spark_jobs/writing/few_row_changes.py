"""What differs between few rows of a table before and after, and how the difference reaches one date of the table.

All of it is done by delta-rs in this process, one commit a table; which rows there are is the caller's. A date as a
whole is replaced by `tables`, Gold is merged by `gold_merge`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from spark_jobs.writing import tables

_GONE = "_gone"

_UNCHANGED = CommitProperties(max_commit_retries=0)
"""A commit is of the very next version, or fails: an append would be put behind whatever others have written, and a
process that slept longer than its lease would add rows that the date's next run has already."""


@dataclass(frozen=True)
class RowChanges:
    """The difference of two sets of rows, by an identity that is unique in each.

    Attributes:
        identity: The columns by which a row is known.
        added: Rows of which there was none.
        replaced: Rows as they are now, of which there was another one.
        gone: Rows as they were, of which there is none any more.
    """

    identity: tuple[str, ...]
    added: pa.Table
    replaced: pa.Table
    gone: pa.Table

    @property
    def only_adds(self) -> bool:
        """Whether every row that was there stays."""
        return not (self.replaced.num_rows or self.gone.num_rows)


def row_changes(before: pa.Table, after: pa.Table, identity: Sequence[str]) -> RowChanges:
    """Return what differs between two tables of few rows and the same columns."""
    old, new = _by_identity(before, identity), _by_identity(after, identity)
    # NaN differs from itself, so that its row is written once more.
    added = [n for key, (n, _) in new.items() if key not in old]
    replaced = [n for key, (n, row) in new.items() if key in old and old[key][1] != row]
    gone = [n for key, (n, _) in old.items() if key not in new]
    return RowChanges(tuple(identity), _rows(after, added), _rows(after, replaced), _rows(before, gone))


def _by_identity(rows: pa.Table, identity: Sequence[str]) -> Mapping[tuple[Any, ...], tuple[int, dict[str, Any]]]:
    return {tuple(row[name] for name in identity): (n, row) for n, row in enumerate(rows.to_pylist())}


def _rows(table: pa.Table, numbers: Sequence[int]) -> pa.Table:
    return table.take(pa.array(numbers, pa.int64()))


def apply_to_few(changes: RowChanges, lake: Lake, table: DeltaTable, partition_column: str, day: date) -> None:
    """Change one date of a table that has few rows: added rows cost no reading, others have the date replaced.

    Args:
        table: The table as it is to be changed.

    Raises:
        CommitFailedError: somebody else has changed the table since it was opened; it stays as they left it.
    """
    if changes.only_adds:
        _append(changes.added, table, partition_column, day)
        return
    stored = read_date(lake, table, partition_column, day)
    outdated = _by_identity(changes.replaced, changes.identity).keys() | _by_identity(changes.gone, changes.identity)
    kept = [n for key, (n, _) in _by_identity(stored, changes.identity).items() if key not in outdated]
    rows = (_rows(stored, kept), changes.added, changes.replaced)
    write_deltalake(
        table,
        pa.concat_tables([_of_table(some, table, partition_column, day) for some in rows]),
        mode="overwrite",
        predicate=f"\"{partition_column}\" = '{day.isoformat()}'",
        commit_properties=_UNCHANGED,
    )


def merge_into_many(changes: RowChanges, lake: Lake, table: DeltaTable, partition_column: str, day: date) -> None:
    """Change one date of a table of many rows: added rows cost no reading, others rewrite the files that had them.

    Args:
        changes: Rows whose identity is never NULL.
        table: The table as it is to be changed.

    Raises:
        CommitFailedError: somebody else has changed the table since it was opened; it stays as they left it.
    """
    if changes.only_adds:
        _append(changes.added, table, partition_column, day)
        return
    after = pa.concat_tables([changes.added, changes.replaced])
    source = pa.concat_tables(
        [_flagged(_of_table(rows, table, partition_column, day), n) for n, rows in enumerate((after, changes.gone))]
    )
    on = [f"t.\"{partition_column}\" = date'{day.isoformat()}'", *[f't."{k}" = s."{k}"' for k in changes.identity]]
    columns = {f'"{each}"': f's."{each}"' for each in (*after.column_names, partition_column)}
    (
        table.merge(source, " AND ".join(on), source_alias="s", target_alias="t", commit_properties=_UNCHANGED)
        .when_matched_delete(f's."{_GONE}"')
        .when_matched_update(columns)
        .when_not_matched_insert(columns, f'NOT s."{_GONE}"')
        .execute()
    )


def _append(rows: pa.Table, table: DeltaTable, partition_column: str, day: date) -> None:
    if rows.num_rows:
        dated = _of_table(rows, table, partition_column, day)
        write_deltalake(table, dated, mode="append", commit_properties=_UNCHANGED)


def _of_table(rows: pa.Table, table: DeltaTable, partition_column: str, day: date) -> pa.Table:
    return tables.aligned_rows(tables.with_date(rows, partition_column, day), table)


def _flagged(rows: pa.Table, gone: int) -> pa.Table:
    return rows.append_column(_GONE, pa.array([bool(gone)] * rows.num_rows, pa.bool_()))
