"""The rows of large dates in Z-order: each file has a part of the values of some columns, and readers pass over others.

It pays where a date has more than one file's worth of rows; smaller ones are only compacted. Which columns, the domain
says; when this runs is `delta_table`'s question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

FILE_BYTES = 32 * 1024 * 1024
"""A quarter of a date of 860,000 events: smaller files cost a reader more requests than they spare it rows."""

DATES_A_COMMIT = 31

ORDERED = "pdp.zOrdered"
"""Property of a table: the columns, and when the newest file was written that was looked at. Later ones are new."""

_DAY, _BYTES, _AT = "day", "bytes", "at"


def arrange(table: DeltaTable, columns: Sequence[str], file_bytes: int = FILE_BYTES) -> None:
    """Order the dates that were written since the last turn, or all when the columns are others; no row changes.

    Killed at any point it leaves a table that is right, and what was done since the last turn is done again.

    Args:
        table: Its newest version, partitioned by date.
        file_bytes: What a file of an ordered date has.

    Raises:
        CommitFailedError: another writer replaced one of the files.
    """
    [partition] = table.metadata().partition_columns
    files = _files(table, partition)
    new = files.filter(pc.field(_AT) > _since(table, columns))[_DAY]
    sizes: defaultdict[str, list[int]] = defaultdict(list)
    for row in files.filter(pc.is_in(files[_DAY], new)).to_pylist():
        sizes[str(row[_DAY])].append(row[_BYTES])
    changed = sorted(sizes)
    large = [day for day in changed if sum(sizes[day]) > file_bytes]
    small = [day for day in changed if day not in large and len(sizes[day]) > 1]
    for days in _chunks(small):
        table.optimize.compact(partition_filters=[(partition, "in", days)])
    for days in _chunks(large):
        table.optimize.z_order(columns, partition_filters=[(partition, "in", days)], target_size=file_bytes)
    if changed:
        table.update_incremental()
        newest = pc.max(_files(table, partition)[_AT]).as_py()
        table.alter.set_table_properties({ORDERED: _marker(columns, newest)}, raise_if_not_exists=False)


def _files(table: DeltaTable, partition: str) -> pa.Table:
    """Return date, bytes and time of each file, in columns: a history of years is many."""
    names = [f"partition.{partition}", "size_bytes", "modification_time"]
    return pa.table(table.get_add_actions(flatten=True)).select(names).rename_columns([_DAY, _BYTES, _AT])


def _marker(columns: Sequence[str], at: int) -> str:
    return f"{','.join(columns)}@{at}"


def _since(table: DeltaTable, columns: Sequence[str]) -> int:
    names, _, at = table.metadata().configuration.get(ORDERED, "").rpartition("@")
    return int(at) if names == ",".join(columns) else 0


def _chunks(days: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(days), DATES_A_COMMIT):
        yield days[start : start + DATES_A_COMMIT]
