"""The daily increment of users: who changed since the last one, with the e-mail address masked.

The query, the increment and its watermark belong here; not missing a late commit belongs to `producers.fence`. The
address is masked by the query itself: it never reaches this process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
from psycopg2.extensions import connection as Connection

from producers.delivery import Delivery, Receipt
from producers.fence import FencedReader, PollClock, Position
from producers.orders import UTC_TIME
from producers.watermark import WatermarkStore

# Shortly before midnight, so that a date's partition holds the changes of that date.
INCREMENT_TIME = timedelta(hours=23, minutes=55)

QUERY = f"""
SELECT u.user_id, u.updated_at, row_to_json(document)::text
FROM users u
CROSS JOIN LATERAL (
  SELECT u.user_id, u.name,
    left(u.email, 1) || '***@' || split_part(u.email, '@', 2) AS email_masked,
    u.city, u.tier, u.is_active,
    to_char(u.created_at, {UTC_TIME}) AS created_at,
    to_char(u.updated_at, {UTC_TIME}) AS updated_at,
    to_char(u.deleted_at, {UTC_TIME}) AS deleted_at
) document
WHERE (u.updated_at, u.user_id) > (%(after_at)s, %(after_key)s)
  AND (%(ceiling)s::timestamptz IS NULL OR u.updated_at <= %(ceiling)s)
ORDER BY u.updated_at, u.user_id
LIMIT %(page_rows)s
"""


class UsersIncrement:
    """Sends the users that changed since the last increment.

    Args:
        connection: To the shop's primary, autocommit, time zone UTC.
        delivery: Into the users topic.
        watermark: Where the position is kept.
        clock: What time an increment is taken at.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: PollClock | None = None,
    ) -> None:
        self._delivery = delivery
        self._watermark = watermark
        document = watermark.load() or {}
        self._extracted_at = document.get("extracted_at")
        position = Position.from_json(document["position"]) if "position" in document else Position()
        self.reader = FencedReader(connection, QUERY, position, clock=clock)

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
            TransientError: not everything was acknowledged; the watermark is unchanged.
            PermanentError: the cluster refuses the records.
        """
        extracted_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for page in self.reader.poll():
            for row in page:
                self._delivery.send({**orjson.loads(row.document), "extracted_at": extracted_at})
        receipt = self._delivery.settle()
        self._extracted_at = now.astimezone(UTC).isoformat()
        self._watermark.save({"extracted_at": self._extracted_at, "position": self.reader.confirm().to_json()})
        return receipt
