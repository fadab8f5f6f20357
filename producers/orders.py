"""Change capture of orders: every version that a poll saw, as one record with its lines.

The query belongs here, deleted orders included; not missing a late commit belongs to `producers.fence`, sending a poll
and saving its watermark to `producers.backlog`. A record of a deleted order has `deleted_at`, docs/architecture.md.
"""

from __future__ import annotations

import orjson
from psycopg2.extensions import connection as Connection

from producers.backlog import CHECKPOINT_ROWS, Backlog
from producers.delivery import Delivery, Receipt
from producers.fence import PAGE_ROWS, FencedReader, PollClock, Position
from producers.watermark import WatermarkStore

UTC_TIME = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""

# Money leaves the database as text, so that no float ever holds it. Live rows and tombstones come each from its
# index, at most a page of them, and lines are looked up last: a page costs the same whatever the tables hold. The inner
# limits are needed: without them Postgres 15 reads and sorts all that is left of both tables for each page.
QUERY = f"""
SELECT o.order_id, o.updated_at, row_to_json(document)::text
FROM (
  (SELECT order_id, user_id, restaurant_id, city, status, currency, payment_method, subtotal, delivery_fee, discount,
    total, NULL::json AS items, created_at, updated_at, delivered_at, cancelled_at, deleted_at
  FROM orders
  WHERE (updated_at, order_id) > (%(after_at)s, %(after_key)s)
    AND (%(ceiling)s::timestamptz IS NULL OR updated_at <= %(ceiling)s)
  ORDER BY updated_at, order_id LIMIT %(page_rows)s)
  UNION ALL
  (SELECT order_id, user_id, restaurant_id, city, status, currency, payment_method, subtotal, delivery_fee, discount,
    total, items, created_at, updated_at, delivered_at, cancelled_at, deleted_at
  FROM orders_tombstones
  WHERE (updated_at, order_id) > (%(after_at)s, %(after_key)s)
    AND (%(ceiling)s::timestamptz IS NULL OR updated_at <= %(ceiling)s)
  ORDER BY updated_at, order_id LIMIT %(page_rows)s)
  ORDER BY updated_at, order_id
  LIMIT %(page_rows)s
) o
CROSS JOIN LATERAL (
  SELECT o.order_id, o.user_id, o.restaurant_id, o.city, o.status, o.currency, o.payment_method,
    o.subtotal::text AS subtotal, o.delivery_fee::text AS delivery_fee,
    o.discount::text AS discount, o.total::text AS total,
    COALESCE(o.items, (
      SELECT json_agg(json_build_object('menu_item_id', i.menu_item_id, 'name', i.name,
        'quantity', i.quantity, 'unit_price', i.unit_price::text) ORDER BY i.line_no)
      FROM order_items i WHERE i.order_id = o.order_id), '[]'::json) AS items,
    to_char(o.created_at, {UTC_TIME}) AS created_at,
    to_char(o.updated_at, {UTC_TIME}) AS updated_at,
    to_char(o.delivered_at, {UTC_TIME}) AS delivered_at,
    to_char(o.cancelled_at, {UTC_TIME}) AS cancelled_at,
    to_char(o.deleted_at, {UTC_TIME}) AS deleted_at
) document
ORDER BY o.updated_at, o.order_id
"""


class OrdersPoller:
    """Polls orders and sends each version that was not sent yet.

    Args:
        connection: To the shop's primary, autocommit, time zone UTC.
        delivery: Into the orders topic.
        watermark: Where the position is kept.
        clock: What time a poll is taken at.
        page_rows: Rows of one page.
        checkpoint_rows: Rows between two saves of the watermark within one poll.

    Attributes:
        reader: What is polled, and how far its watermark is behind.
        backlog: How many rows the present poll has sent.
    """

    def __init__(
        self,
        connection: Connection,
        delivery: Delivery,
        watermark: WatermarkStore,
        *,
        clock: PollClock | None = None,
        page_rows: int = PAGE_ROWS,
        checkpoint_rows: int = CHECKPOINT_ROWS,
    ) -> None:
        self.reader = FencedReader(
            connection, QUERY, Position.from_json(watermark.load()), clock=clock, page_rows=page_rows
        )
        self.backlog = Backlog(
            self.reader,
            delivery,
            lambda position: watermark.save(position.to_json()),
            lambda row: orjson.loads(row.document),
            checkpoint_rows=checkpoint_rows,
        )

    def poll(self) -> Receipt:
        """Send what changed, wait for the reports, save the watermark.

        Returns:
            What was delivered, by the date the orders were placed on.

        Raises:
            TransientError: not everything was acknowledged; the watermark stands at what was.
            PermanentError: the cluster refuses the records.
        """
        return self.backlog.send()
