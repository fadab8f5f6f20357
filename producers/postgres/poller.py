"""A polled table's way into Kafka: every version that a poll saw, as one record, and the watermark after it.

`postgres_cdc` polls all the time, `postgres_increment` once a day and stamps each record with the time of extraction.
Which table, and what a record has, is said by the domain's `source` block; not missing a late commit belongs to
`producers.postgres.fence`, sending one record to `producers.delivery`. What the block masks is masked by the query, and
in a tombstone by the database: it never reaches this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from psycopg2.extensions import connection as Connection

from platform_core.clock import SystemClock
from platform_core.domain.source import PolledTable, PostgresIncrement
from producers.delivery import Delivery, Receipt
from producers.postgres.fence import PAGE_ROWS, DatabaseClock, FencedReader, PolledRow, Position
from producers.postgres.query import changes_query
from producers.watermark_store import WatermarkStore

log = logging.getLogger(__name__)

# What a crash sends again at most. At 15,000 rows a second a stretch takes over a second and its save 10 ms.
CHECKPOINT_ROWS = 20_000
PROGRESS_SECONDS = 5.0


class TablePoller:
    """Polls a domain's table and sends each version that was not sent yet.

    A poll of any length is sent in stretches, each delivered and saved before the next, with its progress logged.

    Args:
        connection: To the source's primary, autocommit, time zone UTC.
        delivery: Into the domain's topic.
        watermark: Where the position is kept, and when the last increment was.
        clock: What time a poll is taken at.
        page_rows: Rows of one page.
        seconds: A clock that never steps back, for rates.

    Attributes:
        reader: What is polled, and how far its watermark is behind.
        rows_sent: Rows that the present poll, or the last one, has sent.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: DatabaseClock | None = None,
        page_rows: int = PAGE_ROWS,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        source = delivery.domain.source
        assert isinstance(source, PolledTable)
        self._source = source
        self._delivery = delivery
        self._watermark = watermark
        self._seconds = seconds
        document = watermark.load()
        self._extracted_at: str | None = (document or {}).get("extracted_at")
        query = changes_query(delivery.domain)
        self.reader = FencedReader(connection, query, Position.from_json(document), clock=clock, page_rows=page_rows)
        self.rows_sent = 0

    def due(self, now: datetime) -> bool:
        """Tell whether to poll: always, or while the day's increment, or one that was missed, is still to come."""
        if not isinstance(self._source, PostgresIncrement) or self._extracted_at is None:
            return True
        latest = datetime.combine(now.date(), self._source.at, UTC)
        if latest > now:
            latest -= timedelta(days=1)
        # One of a later day was taken by a clock that was wrong.
        return not latest <= datetime.fromisoformat(self._extracted_at) <= now + timedelta(days=1)

    def poll(self, now: datetime | None = None) -> Receipt:
        """Send what changed, wait for the reports, save the watermark; of a long poll also on the way.

        Args:
            now: The time of extraction, the present one by default.

        Raises:
            TransientError: not everything was acknowledged; what is saved was, and the rest is sent again.
            PermanentError: the cluster refuses the records.
        """
        at = (now or SystemClock().now()).astimezone(UTC)
        stamp = {}
        if isinstance(self._source, PostgresIncrement):
            stamp = {self._source.stamp: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        total, unsaved = Receipt(), 0
        self.rows_sent = logged_rows = 0
        logged_at = self._seconds()
        for page in self.reader.poll():
            for row in page:
                self._delivery.send_text(row.key, row.document, stamp)
            self.rows_sent += len(page)
            unsaved += len(page)
            if unsaved >= CHECKPOINT_ROWS:
                total.add(self._delivery.deliver())
                self._save(self.reader.checkpoint())
                unsaved = 0
            elapsed = self._seconds() - logged_at
            if elapsed >= PROGRESS_SECONDS:
                self._log_progress(page[-1], (self.rows_sent - logged_rows) / elapsed)
                logged_at, logged_rows = logged_at + elapsed, self.rows_sent
        total.add(self._delivery.deliver())
        # Until the increment is whole its time is the last one's, so that one that was interrupted is still due.
        self._extracted_at = at.isoformat()
        self._save(self.reader.checkpoint())
        return total

    def _save(self, position: Position) -> None:
        self._watermark.save({"extracted_at": self._extracted_at, "position": position.to_json()})

    def _log_progress(self, last: PolledRow, rows_per_second: float) -> None:
        log.info(
            "backlog_progress domain=%s sent=%d rows_per_second=%.0f at=%s behind_seconds=%.0f",
            self._delivery.domain.name,
            self.rows_sent,
            rows_per_second,
            last.updated_at.text,
            (SystemClock().now() - last.updated_at.time).total_seconds(),
        )
