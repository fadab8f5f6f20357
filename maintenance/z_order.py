"""The rows of large dates in Z-order: each file has a part of the values of some columns, and readers pass over others.

It pays where a date has more than one file's worth of rows; smaller ones are only compacted. Which columns, the domain
says; when this runs is `delta_table`'s question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa
from deltalake import DeltaTable

FILE_BYTES = 32 * 1024 * 1024
"""A quarter of a date of 860,000 events: smaller files cost a reader more requests than they spare it rows."""

DATES_A_COMMIT = 31

ORDERED = "pdp.zOrdered"
"""Property of a table: the columns, and when the newest file was written that was looked at. Later ones are new."""


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
    sizes: defaultdict[str, list[int]] = defaultdict(list)
    written: defaultdict[str, int] = defaultdict(int)
    for day, size, at in _files(table, partition):
        sizes[day].append(size)
        written[day] = max(written[day], at)
    since = _since(table, columns)
    changed = sorted(day for day, at in written.items() if at > since)
    large = [day for day in changed if sum(sizes[day]) > file_bytes]
    small = [day for day in changed if day not in large and len(sizes[day]) > 1]
    for days in _chunks(small):
        table.optimize.compact(partition_filters=[(partition, "in", days)])
    for days in _chunks(large):
        table.optimize.z_order(columns, partition_filters=[(partition, "in", days)], target_size=file_bytes)
    if changed:
        table.update_incremental()
        newest = max(at for _, _, at in _files(table, partition))
        table.alter.set_table_properties({ORDERED: _marker(columns, newest)}, raise_if_not_exists=False)


def _files(table: DeltaTable, partition: str) -> Iterator[tuple[str, int, int]]:
    """Yield date, bytes and time of each file."""
    names = [f"partition.{partition}", "size_bytes", "modification_time"]
    for row in pa.table(table.get_add_actions(flatten=True)).select(names).to_pylist():
        yield str(row[names[0]]), row["size_bytes"], row["modification_time"]


def _marker(columns: Sequence[str], at: int) -> str:
    return f"{','.join(columns)}@{at}"


def _since(table: DeltaTable, columns: Sequence[str]) -> int:
    names, _, at = table.metadata().configuration.get(ORDERED, "").rpartition("@")
    return int(at) if names == ",".join(columns) else 0


def _chunks(days: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(days), DATES_A_COMMIT):
        yield days[start : start + DATES_A_COMMIT]
