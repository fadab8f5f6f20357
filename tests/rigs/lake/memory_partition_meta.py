"""Partition states in memory, for tests of what stands above the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime

from platform_core.clock import Clock
from platform_core.partitions.partition_meta import Change, Partition, Transition, fold
from platform_core.partitions.partition_state import State


class InMemoryPartitionMeta:
    """The protocols on a dictionary, for tests of what stands above."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[tuple[str, date], Partition] = {}
        self._history: list[Transition] = []

    def get(self, domain: str, day: date) -> Partition | None:
        """Return one row, or None."""
        return self._rows.get((domain, day))

    def rows(self, domain: str | None = None, days: Collection[date] | None = None) -> list[Partition]:
        """Return rows by domain and date."""
        return [
            replace(r, source_files=())
            for k, r in sorted(self._rows.items())
            if domain in (None, k[0]) and (days is None or k[1] in days)
        ]

    def states(self, domain: str | None = None) -> dict[tuple[str, date], State]:
        """Return the state of each date."""
        return {(row.domain, row.partition_date): row.status for row in self.rows(domain)}

    def history(
        self, domain: str | None = None, day: date | None = None, since: datetime | None = None
    ) -> list[Transition]:
        """Return transitions, oldest first."""
        return [
            t
            for t in self._history
            if domain in (None, t.domain) and day in (None, t.partition_date) and (since is None or t.at >= since)
        ]

    def apply(self, changes: Sequence[Change]) -> list[Partition]:
        """Make all changes or none."""
        rows, transitions = fold(changes, self._rows, self._clock.now())
        self._rows |= {(row.domain, row.partition_date): row for row in rows}
        self._history += transitions
        return rows
