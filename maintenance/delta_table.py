"""One Delta table: merged small files, a checkpoint, and no file longer than somebody may need it.

Which versions somebody still needs is `held_versions`' question, whether a table is looked at `run`'s; when this runs,
Dagster's or the operator's.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from maintenance.z_order import arrange
from platform_core.lake.contended_table import COMPACT_TO_BYTES
from platform_core.lake.lake import Lake

log = logging.getLogger(__name__)

LOG_PROPERTIES = {
    # The engines would delete log entries at their checkpoints, also those of a version that a correction needs.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 30 days",
}


@dataclass(frozen=True)
class TableMaintenance:
    """What was done with a table.

    Attributes:
        table: Its path below the lake's root.
        files_before: Data files that its newest version had.
        files: Data files that it has now.
        bytes: Their size.
        removed: Files that belonged to versions which nobody needs any more.
        held: Versions that were kept although they are older than the retention.
    """

    table: str
    files_before: int
    files: int
    bytes: int
    removed: int
    held: tuple[int, ...]


def maintain(
    lake: Lake,
    name: str,
    keep: timedelta,
    held: Collection[int] = (),
    z_order_by: Sequence[str] = (),
    *,
    whole: bool = True,
) -> TableMaintenance:
    """Compact a table, write a checkpoint and end what is older than `keep`; no row changes.

    Killed at any point it leaves a table that is right: what it has not committed is removed by the next whole turn.

    Args:
        lake: Where the table lies.
        name: Its path below the lake's root.
        keep: How long the files of a replaced version stay.
        held: Versions whose files stay however old they are, and with them the log.
        z_order_by: Columns by which the rows of large dates are put in Z-order.
        whole: List every file and consider every date; otherwise the log alone says which files were replaced, and
            dates of one file are passed over.

    Raises:
        TableNotFoundError: there is no such table.
    """
    return maintain_opened(lake.delta(name), name, keep, held, z_order_by, whole=whole)


def maintain_opened(
    table: DeltaTable,
    name: str,
    keep: timedelta,
    held: Collection[int],
    z_order_by: Sequence[str],
    *,
    whole: bool,
) -> TableMaintenance:
    """Do what `maintain` does with a table that was just opened; it has the newest version afterwards."""
    before, _ = _size(table)
    wanted_properties = {**LOG_PROPERTIES, "delta.deletedFileRetentionDuration": _interval(keep)}
    properties = table.metadata().configuration
    missing = {key: value for key, value in wanted_properties.items() if properties.get(key) != value}
    if missing:
        table.alter.set_table_properties(missing)
    try:
        if z_order_by:
            arrange(table, z_order_by)
        else:
            _compact(table, whole=whole)
    except CommitFailedError as error:  # another writer replaced one of the files: they are merged next time
        log.info("compaction_lost table=%s error=%s", name, error)
        table.update_incremental()
    removed = _vacuum(table, keep, held, whole=whole)
    table.update_incremental()
    table.create_checkpoint()
    if not held:
        table.cleanup_metadata()
    files, size = _size(table)
    return TableMaintenance(name, before, files, size, removed, tuple(sorted(held)))


def _size(table: DeltaTable) -> tuple[int, int]:
    """Return how many data files the table has, and their bytes."""
    sizes = pa.table(table.get_add_actions(flatten=True))["size_bytes"]
    return len(sizes), pc.sum(sizes).as_py() or 0


def _interval(keep: timedelta) -> str:
    # A checkpoint forgets a replaced file when it may be removed, so that no turn removes it a second time.
    return f"interval {round(keep / timedelta(hours=1))} hours"


def _compact(table: DeltaTable, *, whole: bool) -> None:
    columns = table.metadata().partition_columns
    if len(columns) != 1:
        # A ledger has no dates, and gets some lines a day: what is merged each night must not be all that it has.
        table.optimize.compact(target_size=COMPACT_TO_BYTES)
        return
    name = f"partition.{columns[0]}"
    counts = pa.table(table.get_add_actions(flatten=True)).group_by(name).aggregate([("size_bytes", "count")])
    split = counts.filter(pc.field("size_bytes_count") > 1)[name].to_pylist()
    if whole or None in split:
        table.optimize.compact()
    elif split:
        table.optimize.compact(partition_filters=[(columns[0], "in", sorted(map(str, split)))])


def _vacuum(table: DeltaTable, keep: timedelta, held: Collection[int], *, whole: bool) -> int:
    # A whole one also finds what a killed writer left, and what was held when the log forgot it.
    remove = functools.partial(
        table.vacuum,
        round(keep / timedelta(hours=1)),
        full=whole,
        keep_versions=sorted(held) or None,
    )
    # A vacuum that finds nothing would still make two commits.
    return len(remove(dry_run=False)) if remove(dry_run=True) else 0
