"""The daily increment of users: who changed since the last one, with the e-mail address masked.

The query and the increment belong here, deleted users included; not missing a late commit belongs to
`producers.fence`, sending and saving to `producers.backlog`. The address is masked by the query itself, and in a
tombstone by the database: it never reaches this process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from psycopg2.extensions import connection as Connection

from producers.backlog import Backlog
from producers.delivery import Delivery, Receipt
from producers.fence import FencedReader, PollClock, Position, Row
from producers.orders import UTC_TIME
from producers.watermark import WatermarkStore

# Shortly before midnight, so that a date's partition holds the changes of that date.
INCREMENT_TIME = timedelta(hours=23, minutes=55)

QUERY = f"""
SELECT u.user_id, u.updated_at, row_to_json(document)::text
FROM (
  (SELECT user_id, name, left(email, 1) || '***@' || split_part(email, '@', 2) AS email_masked, city, tier, is_active,
    created_at, updated_at, deleted_at
  FROM users
  WHERE (updated_at, user_id) > (%(after_at)s, %(after_key)s)
    AND (%(ceiling)s::timestamptz IS NULL OR updated_at <= %(ceiling)s)
  ORDER BY updated_at, user_id LIMIT %(page_rows)s)
  UNION ALL
  (SELECT user_id, name, email_masked, city, tier, is_active, created_at, updated_at, deleted_at
  FROM users_tombstones
  WHERE (updated_at, user_id) > (%(after_at)s, %(after_key)s)
    AND (%(ceiling)s::timestamptz IS NULL OR updated_at <= %(ceiling)s)
  ORDER BY updated_at, user_id LIMIT %(page_rows)s)
  ORDER BY updated_at, user_id
  LIMIT %(page_rows)s
) u
CROSS JOIN LATERAL (
  SELECT u.user_id, u.name, u.email_masked, u.city, u.tier, u.is_active,
    to_char(u.created_at, {UTC_TIME}) AS created_at,
    to_char(u.updated_at, {UTC_TIME}) AS updated_at,
    to_char(u.deleted_at, {UTC_TIME}) AS deleted_at
) document
ORDER BY u.updated_at, u.user_id
"""


class UsersIncrement:
    """Sends the users that changed since the last increment.

    Args:
        connection: To the shop's primary, autocommit, time zone UTC.
        delivery: Into the users topic.
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
        self._watermark = watermark
        document = watermark.load() or {}
        self._extracted_at: str | None = document.get("extracted_at")
        self._stamp = ""
        self.reader = FencedReader(connection, QUERY, Position.from_json(document.get("position")), clock=clock)
        self.backlog = Backlog(self.reader, delivery, self._save, self._record)

    def due(self, now: datetime) -> bool:
        """Tell whether the day's increment, or an earlier one that was missed, is still to come."""
        if self._extracted_at is None:
            return True
        last = datetime.fromisoformat(self._extracted_at)
        midnight = datetime.combine(now.date(), datetime.min.time(), UTC)
        latest = midnight + INCREMENT_TIME
        if latest > now:
            latest -= timedelta(days=1)
        return last < latest

    def extract(self, now: datetime) -> Receipt:
        """Send who changed, wait for the reports, save the watermark.

        Args:
            now: The time of extraction, which decides the partition date.

        Raises:
            TransientError: not everything was acknowledged; the watermark stands at what was.
            PermanentError: the cluster refuses the records.
        """
        self._stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        receipt = self.backlog.send()
        self._extracted_at = now.astimezone(UTC).isoformat()
        self._save(self.reader.position)
        return receipt

    def _record(self, row: Row) -> dict[str, Any]:
        return {**orjson.loads(row.document), "extracted_at": self._stamp}

    def _save(self, position: Position) -> None:
        # Until the increment is whole its time is the last one's, so that one that was interrupted is still due.
        self._watermark.save({"extracted_at": self._extracted_at, "position": position.to_json()})
