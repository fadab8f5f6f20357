"""One Delta table: merged small files, a checkpoint, and no file longer than somebody may need it.

Which versions somebody still needs is `held_versions`' question; when this runs, Dagster's or the operator's.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from maintenance.z_order import arrange
from platform_core.lake.lake import Lake

log = logging.getLogger(__name__)

LOG_PROPERTIES = {
    # The engines would delete log entries at their checkpoints, also those of a version that a correction needs.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 30 days",
}

_DELTAS_OWN_MINIMUM = timedelta(hours=168)


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
    lake: Lake, name: str, keep: timedelta, held: Collection[int] = (), z_order_by: Sequence[str] = ()
) -> TableMaintenance:
    """Compact a table, write a checkpoint and end what is older than `keep`; no row changes.

    Killed at any point it leaves a table that is right: what it has not committed is removed by the next turn.

    Args:
        lake: Where the table lies.
        name: Its path below the lake's root.
        keep: How long the files of a replaced version stay.
        held: Versions whose files stay however old they are, and with them the log.
        z_order_by: Columns by which the rows of large dates are put in Z-order.

    Raises:
        TableNotFoundError: there is no such table.
    """
    table = lake.delta(name)
    before = len(table.file_uris())
    properties = table.metadata().configuration
    missing = {key: value for key, value in LOG_PROPERTIES.items() if properties.get(key) != value}
    if missing:
        table.alter.set_table_properties(missing)
    try:
        if z_order_by:
            arrange(table, z_order_by)
        else:
            table.optimize.compact()
    except CommitFailedError as error:  # another writer replaced one of the files: they are merged next time
        log.info("compaction_lost table=%s error=%s", name, error)
        table = lake.delta(name)
    removed = _vacuum(table, keep, held)
    table = lake.delta(name)
    table.create_checkpoint()
    if not held:
        table.cleanup_metadata()
    sizes = table.get_add_actions(flatten=True).column("size_bytes").to_pylist()
    return TableMaintenance(name, before, len(sizes), sum(sizes), removed, tuple(sorted(held)))


def _vacuum(table: DeltaTable, keep: timedelta, held: Collection[int]) -> int:
    # `full` also finds what a killed writer left, and what the log has forgotten since the last turn.
    remove = functools.partial(
        table.vacuum,
        round(keep / timedelta(hours=1)),
        enforce_retention_duration=keep >= _DELTAS_OWN_MINIMUM,
        full=True,
        keep_versions=sorted(held) or None,
    )
    # A vacuum that finds nothing would still make two commits.
    return len(remove(dry_run=False)) if remove(dry_run=True) else 0
