"""The log of alerts, by which each is delivered once per channel.

It is a Delta table of the lake, so that it outlives the orchestrator's own database. What an alert is belongs to
`alerts`, which producers and the sink raise without a Delta client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from platform_core.clock import Clock, SystemClock
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.lake.row_schema import schema_of

ATTEMPTS = 8

SCHEMA = pa.schema(
    [
        *schema_of(Alert),
        pa.field("raised_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("channels", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class LoggedAlert:
    """An alert as the log has it.

    Attributes:
        raised_at: When it was first seen, UTC.
        channels: The channels that have taken it, in the order in which they did.
    """

    alert: Alert
    raised_at: datetime
    channels: tuple[str, ...]


class AlertLog:
    """The alerts that were raised, and where each was delivered.

    Args:
        lake: Where the table lies.
        clock: The time that `raised_at` carries.
    """

    def __init__(self, lake: Lake, clock: Clock | None = None) -> None:
        self._table = ContendedTable(lake, lake.alerts, SCHEMA)
        self._clock = clock or SystemClock()

    def new(self, alerts: Collection[Alert], channels: Sequence[str] = ()) -> list[Alert]:
        """Note alerts that the log does not have yet.

        Args:
            channels: The channels that have taken them already.

        Returns:
            Those that were new, in the order given.

        Raises:
            TransientError: other writers won every attempt, or the store failed.
        """
        by_key = {alert.key: alert for alert in alerts}
        if not by_key:
            return []

        def unknown(table: DeltaTable) -> list[LoggedAlert]:
            known = {row["key"] for row in self._table.rows(columns=["key"], table=table)}
            now = self._clock.now()
            return [LoggedAlert(alert, now, tuple(channels)) for key, alert in by_key.items() if key not in known]

        return [entry.alert for entry in self._store(unknown)]

    def delivered(self, key: str, channel: str) -> None:
        """Note that a channel has taken an alert; a second time changes nothing.

        Raises:
            TransientError: other writers won every attempt, or the store failed.
        """

        def delivered_to(table: DeltaTable) -> list[LoggedAlert]:
            return [
                replace(entry, channels=(*entry.channels, channel))
                for entry in self._entries(table)
                if entry.alert.key == key and channel not in entry.channels
            ]

        self._store(delivered_to)

    def pending(self, channel: str, since: datetime | None = None) -> list[Alert]:
        """Return what a channel has not taken yet, oldest first.

        Args:
            channel: The channel's name.
            since: Leave out what was raised before.
        """
        return [entry.alert for entry in self.read(since=since) if channel not in entry.channels]

    def read(self, domain: str | None = None, since: datetime | None = None) -> list[LoggedAlert]:
        """Return alerts in the order in which they happened.

        Args:
            domain: Only those of one domain.
            since: Leave out what was raised before.
        """
        # Not a filter of the scan: a merge leaves files with string_view columns, which it cannot compare.
        return [entry for entry in self._entries(since=since) if domain in (None, entry.alert.domain)]

    def _store(self, entries_for: Callable[[DeltaTable], list[LoggedAlert]]) -> list[LoggedAlert]:
        """Store what is to be noted in the table as it is, and again when another writer was first."""
        entries: list[LoggedAlert] = []
        for table in self._table.attempts(ATTEMPTS):
            entries = entries_for(table)
            if not entries or self._merge(table, entries):
                break
        return entries

    def _merge(self, table: DeltaTable, entries: Sequence[LoggedAlert]) -> bool:
        """Store entries by key; False when another writer was first, and nothing is stored."""
        rows = [{**asdict(e.alert), "raised_at": e.raised_at, "channels": e.channels} for e in entries]
        source = pa.Table.from_pylist(rows, schema=SCHEMA)
        merge = table.merge(source, "t.key = s.key", source_alias="s", target_alias="t")
        with answering(self._table.uri, "written"):
            try:
                merge.when_matched_update({"channels": "s.channels"}).when_not_matched_insert_all().execute()
            except CommitFailedError:
                return False
        self._table.tidy(table)
        return True

    def _entries(self, table: DeltaTable | None = None, since: datetime | None = None) -> list[LoggedAlert]:
        """Return entries in the order in which they happened."""
        entries = []
        for row in self._table.rows(("raised_at", ">=", since), table=table):
            raised_at, channels = row.pop("raised_at"), row.pop("channels")
            alert = Alert(**{**row, "kind": AlertKind(row["kind"])})
            entries.append(LoggedAlert(alert, raised_at, tuple(channels or ())))
        return sorted(entries, key=lambda e: (e.alert.at, e.alert.key))
