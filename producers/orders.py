"""Change capture of orders: every version that a poll saw, as one record with its lines.

The query, the poll and its watermark belong here; not missing a late commit belongs to `producers.fence`, sending to
`producers.delivery`. Each poll first sends, then waits for every report, and only then saves.
"""

from __future__ import annotations

import orjson
from psycopg2.extensions import connection as Connection

from producers.delivery import Delivery, Receipt
from producers.fence import PAGE_ROWS, FencedReader, PollClock, Position
from producers.watermark import WatermarkStore

UTC_TIME = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""

# Money leaves the database as text, so that no float ever holds it.
QUERY = f"""
SELECT o.order_id, o.updated_at, row_to_json(document)::text
FROM orders o
CROSS JOIN LATERAL (
  SELECT o.order_id, o.user_id, o.restaurant_id, o.city, o.status, o.currency, o.payment_method,
    o.subtotal::text AS subtotal, o.delivery_fee::text AS delivery_fee,
    o.discount::text AS discount, o.total::text AS total,
    COALESCE((
      SELECT json_agg(json_build_object('menu_item_id', i.menu_item_id, 'name', i.name,
        'quantity', i.quantity, 'unit_price', i.unit_price::text) ORDER BY i.line_no)
      FROM order_items i WHERE i.order_id = o.order_id), '[]'::json) AS items,
    to_char(o.created_at, {UTC_TIME}) AS created_at,
    to_char(o.updated_at, {UTC_TIME}) AS updated_at,
    to_char(o.delivered_at, {UTC_TIME}) AS delivered_at,
    to_char(o.cancelled_at, {UTC_TIME}) AS cancelled_at,
    to_char(o.deleted_at, {UTC_TIME}) AS deleted_at
) document
WHERE (o.updated_at, o.order_id) > (%(after_at)s, %(after_key)s)
  AND (%(ceiling)s::timestamptz IS NULL OR o.updated_at <= %(ceiling)s)
ORDER BY o.updated_at, o.order_id
LIMIT %(page_rows)s
"""


class OrdersPoller:
    """Polls orders and sends each version that was not sent yet.

    Args:
        connection: To the shop's primary, autocommit, time zone UTC.
        delivery: Into the orders topic.
        watermark: Where the position is kept.
        clock: What time a poll is taken at.
        page_rows: Rows of one page.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: PollClock | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._delivery = delivery
        self._watermark = watermark
        self.reader = FencedReader(
            connection, QUERY, Position.from_json(watermark.load()), clock=clock, page_rows=page_rows
        )

    def poll(self) -> Receipt:
        """Send what changed, wait for the reports, save the watermark.

        Returns:
            What was delivered, by the date the orders were placed on.

        Raises:
            TransientError: not everything was acknowledged; the watermark is unchanged.
            PermanentError: the cluster refuses the records.
        """
        for page in self.reader.poll():
            for row in page:
                self._delivery.send(orjson.loads(row.document))
        receipt = self._delivery.settle()
        self._watermark.save(self.reader.confirm().to_json())
        return receipt
