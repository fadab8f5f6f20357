"""A subject's rows in a Delta table, in its current version and in the files that older versions need.

The rows themselves go when their date is processed again without them; here they are counted, and the history that
still has them is removed, with the log entries whose statistics may show a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from erasure.subject import Holder
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake

_LOG_RETENTION = "delta.logRetentionDuration"
_DEFAULT_LOG_RETENTION = "interval 30 days"
_NO_LOG_RETENTION = "interval 0 seconds"


@dataclass(frozen=True)
class TableRows:
    """What a table's files hold.

    Attributes:
        rows: All rows of the current version.
        of_subject: The subject's among them.
        in_history: The subject's rows in files that the current version does not need.
    """

    rows: int
    of_subject: int
    in_history: int


def count(lake: Lake, name: str, holder: Holder) -> TableRows | None:
    """Count a table's rows, file by file; None if there is no such table.

    Raises:
        TransientError: the store did not answer.
    """
    table = lake.delta_or_none(name)
    if table is None:
        return None
    current = {uri.rsplit("/", 1)[-1] for uri in table.file_uris()}
    rows = of_subject = in_history = 0
    try:
        for info in _data_files(lake, name):
            counted = _count(lake, info.path, holder)
            if info.base_name in current:
                rows, of_subject = rows + counted[0], of_subject + counted[1]
            else:
                in_history += counted[1]
    except OSError as error:
        raise TransientError(f"`{lake.uri(name)}` could not be read: {error}. Try again.") from error
    return TableRows(rows, of_subject, in_history)


def forget_history(lake: Lake, name: str) -> None:
    """Remove every file and log entry that the current version of a table does not need.

    No run may write the table meanwhile: what it has written and not committed would be removed as well. Files go last,
    for it is by them that `count` knows whether this must be done again.

    Raises:
        TransientError: the table could not be changed.
    """
    try:
        table = lake.delta(name)
        kept = table.metadata().configuration.get(_LOG_RETENTION, _DEFAULT_LOG_RETENTION)
        if kept == _NO_LOG_RETENTION:  # an attempt before this one was ended
            kept = _DEFAULT_LOG_RETENTION
        table.alter.set_table_properties({_LOG_RETENTION: _NO_LOG_RETENTION})
        table = lake.delta(name)
        table.create_checkpoint()
        table.cleanup_metadata()
        table.alter.set_table_properties({_LOG_RETENTION: kept})
        lake.delta(name).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    except Exception as error:  # delta-rs raises several unrelated classes for a lost race or an absent store
        raise TransientError(f"The history of `{lake.uri(name)}` could not be removed: {error}. Try again.") from error


def _data_files(lake: Lake, name: str) -> list[pafs.FileInfo]:
    infos = lake.filesystem.get_file_info(pafs.FileSelector(lake.path(name), recursive=True))
    return [each for each in infos if each.extension == "parquet" and "/_delta_log/" not in each.path]


def _count(lake: Lake, path: str, holder: Holder) -> tuple[int, int]:
    """Return all rows of a data file and the subject's; a table without the column has records as JSON or none."""
    with pq.ParquetFile(path, filesystem=lake.filesystem) as file:
        rows, names = file.metadata.num_rows, file.schema_arrow.names
        if holder.column in names:
            return rows, pc.sum(holder.rows_of(file.read([holder.column]).column(0))).as_py() or 0
        if "record" in names:
            records = file.read(["record"]).column(0).to_pylist()
            return rows, sum(holder.names(None, (record or "").encode()) for record in records)
    return rows, 0
