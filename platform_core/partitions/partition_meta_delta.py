"""partition_meta on two Delta tables of the lake, written and read through delta-rs.

Only storage lives here: the atomic commit, and the history; rows are read by `partition_rows`. delta-rs refuses a
commit whose snapshot is stale, on a local disk by atomic rename and on an object store by conditional PUT, and no JVM
starts for a sensor's tick.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from platform_core.clock import Clock, SystemClock
from platform_core.errors import TransientError
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.lake.row_schema import schema_of
from platform_core.partitions.partition_meta import Change, Partition, Transition, fold
from platform_core.partitions.partition_rows import META_SCHEMA, PartitionRows
from platform_core.partitions.partition_state import State

log = logging.getLogger(__name__)

HISTORY_SCHEMA = schema_of(Transition)

ATTEMPTS = 12
STORE_ATTEMPTS = 3
"""The store's client has repeated each request by itself already; an outage is left to the next tick."""


class DeltaPartitionMeta:
    """A `PartitionMetaStore` on the lake.

    Args:
        lake: Where the tables lie.
        clock: The time that `updated_at` and the history carry.
    """

    def __init__(self, lake: Lake, clock: Clock | None = None) -> None:
        self._meta = ContendedTable(lake, lake.partition_meta, META_SCHEMA, ["domain"])
        self._history = ContendedTable(lake, lake.partition_history, HISTORY_SCHEMA)
        self._clock = clock or SystemClock()
        self._unwritten: list[Transition] = []

    def snapshot(self) -> PartitionRows:
        """Return the rows of this moment: however often they are read, the table is opened once."""
        return PartitionRows(self._meta, self._meta.open())

    def get(self, domain: str, day: date) -> Partition | None:
        """Return one row with its file list, or None."""
        return self.snapshot().get(domain, day)

    def rows(self, domain: str | None = None, days: Collection[date] | None = None) -> list[Partition]:
        """Return rows by domain and date, without their file lists."""
        return self.snapshot().rows(domain, days)

    def states(self, domain: str | None = None) -> dict[tuple[str, date], State]:
        """Return the state of each date, by domain and date."""
        return self.snapshot().states(domain)

    def dates(self) -> dict[str, int]:
        """Return how many dates each domain has; no row becomes an object for it."""
        counts = self._meta.read(columns=["domain"])["domain"].value_counts().to_pylist()
        return {each["values"]: each["counts"] for each in counts}

    def history(
        self, domain: str | None = None, day: date | None = None, since: datetime | None = None
    ) -> list[Transition]:
        """Return transitions, oldest first; with `since` only those at or after it."""
        rows = self._history.rows(("domain", "=", domain), ("partition_date", "=", day), ("at", ">=", since))
        # An append whose reply was lost is made twice by delta-rs itself: the same line, to the microsecond.
        return sorted(dict.fromkeys(Transition(**row) for row in rows), key=lambda t: t.at)

    def apply(self, changes: Sequence[Change]) -> list[Partition]:
        """Make all changes in one commit; concurrent commits are retried on a fresh snapshot.

        Raises:
            StateConflictError: one of them found another state; none was made.
            TransientError: other writers won every attempt, or the store failed; the next look tells what stands.
        """
        if not changes:
            return []
        for attempt, table in enumerate(self._meta.attempts(ATTEMPTS), start=1):
            now = self._clock.now()
            rows, transitions = fold(changes, self._current(table, changes), now)
            try:
                self._merge(table, {(row.domain, row.partition_date): row for row in rows})
            except (OSError, DeltaError) as error:
                # A commit may stand although its reply was lost: the client's own second attempt then meets the first
                # one as a conflict. Taken for a failure, the run would lose its own claim and the history a line.
                if not self._stands(rows, changes):
                    if isinstance(error, CommitFailedError) or attempt < STORE_ATTEMPTS:
                        continue
                    with answering(self._meta.uri, "written"):
                        raise
            if transitions or self._unwritten:
                self._remember(transitions)
            self._meta.tidy(table)
            break
        return rows

    def _stands(self, rows: Sequence[Partition], changes: Sequence[Change]) -> bool:
        """Return whether the table has these rows; run and time tell them from everybody else's.

        Raises:
            TransientError: the table could not be read either.
        """
        expected = {(row.domain, row.partition_date): row for row in rows}
        table = self._meta.open()
        return table is not None and self._current(table, changes) == expected

    def _current(self, table: DeltaTable, changes: Sequence[Change]) -> dict[tuple[str, date], Partition]:
        rows = PartitionRows(self._meta, table).whole({c.domain for c in changes}, {c.day for c in changes})
        return {(row.domain, row.partition_date): row for row in rows}

    def _merge(self, table: DeltaTable, rows: Mapping[tuple[str, date], Partition]) -> None:
        """Store rows over the snapshot that they were made from; a commit that came in between refuses this one."""
        source = pa.Table.from_pylist([asdict(row) for row in rows.values()], schema=META_SCHEMA)
        domains = ", ".join(f"'{name}'" for name in sorted({domain for domain, _ in rows}))
        days = ", ".join(f"date'{day.isoformat()}'" for day in sorted({day for _, day in rows}))
        metrics = (
            table.merge(
                source,
                f"t.domain IN ({domains}) AND t.partition_date IN ({days})"
                " AND t.domain = s.domain AND t.partition_date = s.partition_date",
                source_alias="s",
                target_alias="t",
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )
        done = metrics["num_target_rows_inserted"] + metrics["num_target_rows_updated"]
        if done != len(rows):
            raise TransientError(
                f"partition_meta: {done} rows changed instead of {len(rows)}; look for duplicate rows of"
                f" {', '.join(f'`{name}` {day}' for name, day in rows)} and delete all but the newest.",
            )

    def _remember(self, transitions: list[Transition]) -> None:
        """Write history lines; those that a store does not take are tried again with the next change."""
        self._unwritten = lines = [*self._unwritten, *transitions]
        data = pa.Table.from_pylist([asdict(line) for line in lines], schema=HISTORY_SCHEMA)
        try:
            for table in self._history.attempts(ATTEMPTS):
                try:
                    write_deltalake(table, data, mode="append")
                except (OSError, DeltaError):
                    # The state is stored, so its line must come; and once, where only the append's reply was lost.
                    if not self._is_remembered(lines):
                        continue
                else:
                    self._history.tidy(table)
                self._unwritten = []
                return
        except (TransientError, OSError, DeltaError) as error:
            log.error("history_not_written lines=%s error=%s", lines, error)

    def _is_remembered(self, transitions: Sequence[Transition]) -> bool:
        first = transitions[0]
        return first in self.history(first.domain, first.partition_date, since=first.at)
