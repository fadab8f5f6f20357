"""The daily increment of a Postgres table: which rows changed since the last one, each with the time of extraction.

When an increment is due belongs here. Which table, and what a record has, is said by the domain's `source` block; not
missing a late commit belongs to `producers.postgres.fence`, sending and saving to `producers.postgres.backlog`. What
the block masks is masked by the query, and in a tombstone by the database: it never reaches this process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from psycopg2.extensions import connection as Connection

from platform_core.domain.source import PostgresIncrement
from producers.delivery import Delivery, Receipt
from producers.postgres.backlog import Backlog
from producers.postgres.fence import FencedReader, PollClock, PolledRow, Position
from producers.postgres.query import changes_query
from producers.watermark import WatermarkStore


class Increment:
    """Sends the rows that changed since the last increment.

    Args:
        connection: To the source's primary, autocommit, time zone UTC.
        delivery: Into the domain's topic.
        watermark: Where the position is kept.
        clock: What time an increment is taken at.

    Attributes:
        reader: What is polled, and how far its watermark is behind.
        backlog: How many rows the present increment has sent.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: PollClock | None = None,
    ) -> None:
        source = delivery.domain.source
        assert isinstance(source, PostgresIncrement)
        self._source = source
        self._watermark = watermark
        document = watermark.load() or {}
        self._extracted_at: str | None = document.get("extracted_at")
        self._stamp = ""
        position = Position.from_json(document.get("position"))
        self.reader = FencedReader(connection, changes_query(delivery.domain), position, clock=clock)
        self.backlog = Backlog(self.reader, delivery, self._save, self._record)

    def due(self, now: datetime) -> bool:
        """Tell whether the day's increment, or an earlier one that was missed, is still to come."""
        if self._extracted_at is None:
            return True
        last = datetime.fromisoformat(self._extracted_at)
        latest = datetime.combine(now.date(), self._source.at, UTC)
        if latest > now:
            latest -= timedelta(days=1)
        return last < latest

    def extract(self, now: datetime) -> Receipt:
        """Send what changed, wait for the reports, save the watermark.

        Args:
            now: The time of extraction.

        Raises:
            TransientError: not everything was acknowledged; the watermark stands at what was.
            PermanentError: the cluster refuses the records.
        """
        self._stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        receipt = self.backlog.send()
        self._extracted_at = now.astimezone(UTC).isoformat()
        self._save(self.reader.position)
        return receipt

    def _record(self, row: PolledRow) -> dict[str, Any]:
        return {**orjson.loads(row.document), self._source.stamp: self._stamp}

    def _save(self, position: Position) -> None:
        # Until the increment is whole its time is the last one's, so that one that was interrupted is still due.
        self._watermark.save({"extracted_at": self._extracted_at, "position": position.to_json()})
