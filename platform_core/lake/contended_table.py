"""A Delta table of the platform's own metadata, which several processes write through delta-rs.

Opening, creating and compacting under contention live here; what a row means, and when a commit that lost is tried
again, belongs to the module of the table (`partition_meta_delta`, `corrections`, `alerts`).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import CommitFailedError, DeltaError

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import TRY_AGAIN, answering, in_one_line

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_COMMITS = 10
"""Whoever opens the table reads each commit since the last checkpoint, which on a bucket is a request."""

COMPACT_EVERY_COMMITS = 50
"""Each commit adds a small file, and whoever reads the table opens each that may have its rows: 0.2 ms on a local disk,
a request on a bucket."""

KEEP_FILES_HOURS = 24
"""Replaced files are kept as long as the slowest reader may take; a renewed lease replaces one every 30 seconds."""

COMPACT_TO_BYTES = 4 * 1024 * 1024
"""A transition rewrites the file of its row. A date has up to 1,440 file names, three years of them some 100 MB."""

Filter = tuple[str, str, Any]
"""A column, how it is compared, and with what."""

_TIME = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()


class ContendedTable:
    """One table below the lake's root; a store that fails is a `TransientError` of each method.

    Args:
        lake: Where it lies.
        name: Its path below the lake's root.
        schema: Its columns, for the process that creates it.
        partition_by: Its partition columns.
    """

    def __init__(self, lake: Lake, name: str, schema: pa.Schema, partition_by: Sequence[str] = ()) -> None:
        self.uri = lake.uri(name)
        self._lake = lake
        self._name = name
        self._schema = schema
        self._partition_by = list(partition_by) or None

    def open(self) -> DeltaTable | None:
        """Return the newest snapshot, or None when nobody has created the table."""
        return self._lake.delta_or_none(self._name)

    def rows(
        self, *filters: Filter, columns: Sequence[str] = (), table: DeltaTable | None = None
    ) -> list[dict[str, Any]]:
        """Return rows, none when nobody has created the table; see `read`."""
        return _as_rows(self.read(*filters, columns=columns, table=table))

    def read(self, *filters: Filter, columns: Sequence[str] = (), table: DeltaTable | None = None) -> pa.Table:
        """Return rows in columns, none when nobody has created the table.

        The engine of delta-rs leaves out files and row groups by their statistics. pyarrow's dataset first makes an
        expression of each column of each file: 100 ms for 150 files, and half a second of imports.

        Args:
            *filters: All of them must hold; one that compares with None lets all rows pass.
            columns: Only these; all by default.
            table: The snapshot to read, the newest by default.
        """
        schema = pa.schema([self._schema.field(name) for name in columns or self._schema.names])
        table = table or self.open()
        if table is None:
            return schema.empty_table()
        conditions = [_condition(*each) for each in filters if each[2] is not None]
        selected = ", ".join(f'"{name}"' for name in schema.names)
        query = f"SELECT {selected} FROM t WHERE {' AND '.join(conditions) or 'TRUE'}"
        with answering(self.uri, "read"):
            return _answer(table, query).cast(schema)

    def open_or_create(self) -> DeltaTable:
        """Return the newest snapshot, of an empty table if need be."""
        table = self.open()
        if table is not None:
            return table
        with answering(self.uri, "created"):
            try:
                return DeltaTable.create(
                    self.uri,
                    schema=self._schema,
                    mode="ignore",
                    partition_by=self._partition_by,
                    storage_options=self._lake.storage_options or None,
                )
            except (DeltaError, OSError):
                # Another process created it a moment earlier, or this one did and the reply was lost.
                table = self.open()
                if table is None:
                    raise
                return table

    def attempts(self, number: int) -> Iterator[DeltaTable]:
        """Yield a fresh snapshot for each attempt of a commit that other writers may win.

        Raises:
            TransientError: every attempt was made.
        """
        for attempt in range(number):
            if attempt:
                pause(attempt - 1)
            yield self.open_or_create()
        raise TransientError(
            f"`{self.uri}`: {number} commits in a row lost against other writers. {TRY_AGAIN} Look for a second"
            " orchestrator if it stays so."
        )

    def tidy(self, table: DeltaTable) -> None:
        """After each 10th commit write a checkpoint, after each 50th merge small files and remove replaced ones.

        A writer who comes in between, or a store that fails, makes it a later turn's work: the commit stands.

        Args:
            table: The snapshot that was just committed.
        """
        if table.version() % CHECKPOINT_EVERY_COMMITS:
            return
        try:
            newest = self._lake.delta(self._name)
            if table.version() % COMPACT_EVERY_COMMITS:
                newest.create_checkpoint()
                return
            newest.optimize.compact(target_size=COMPACT_TO_BYTES)
            newest.create_checkpoint()
            newest.vacuum(KEEP_FILES_HOURS, dry_run=False, enforce_retention_duration=False)
            newest.cleanup_metadata()
        except CommitFailedError:
            return
        except (TransientError, DeltaError, OSError) as error:
            log.warning("table_not_tidied table=%s error=%s", self.uri, in_one_line(error))


def _answer(table: DeltaTable, query: str) -> pa.Table:
    """Return what a query over the table `t` answers.

    Raises:
        OSError: a file of the table could not be read.
        DeltaError: the query is none of this table's.
    """
    try:
        return pa.RecordBatchReader.from_stream(QueryBuilder().register("t", table).execute(query)).read_all()
    except Exception as error:
        # So Arrow's stream raises what the store or the Parquet reader says, by a class that depends on its text.
        if isinstance(error, pa.ArrowException) or type(error) is Exception:
            raise OSError(str(error)) from error
        raise


def _condition(column: str, comparison: str, value: Any) -> str:
    if comparison == "in":
        return f'"{column}" IN ({", ".join(map(_literal, value))})' if value else "FALSE"
    return f'"{column}" {comparison} {_literal(value)}'


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        microseconds = (value - _EPOCH) // timedelta(microseconds=1)
        return f"arrow_cast({microseconds}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    if isinstance(value, date):
        return f"date'{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _as_rows(table: pa.Table) -> list[dict[str, Any]]:
    columns = [python_values(column) for column in table.columns]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """Return what `to_pylist` does, whose times in UTC and dates take half of what a tick's rows cost."""
    if column.type == pa.date32():
        days = column.cast(pa.int32()).to_pylist()
        return [None if each is None else date.fromordinal(_EPOCH_DAY + each) for each in days]
    if column.type != _TIME:
        values: list[Any] = column.to_pylist()
        return values
    since = column.cast(pa.int64()).to_pylist()
    return [None if each is None else _EPOCH + timedelta(microseconds=each) for each in since]


def pause(attempt: int) -> None:
    """Wait a random time before a lost commit is tried again, up to 1.3 s from the seventh attempt on."""
    time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 6)))
