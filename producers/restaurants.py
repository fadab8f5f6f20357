"""The hourly snapshot of restaurants: every one of them, with its whole menu.

The query and the schedule belong here, sending to `producers.delivery`. A snapshot is one statement and so one
consistent view; nothing is compared with the snapshot before it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from psycopg2.extensions import connection as Connection

from producers.delivery import Delivery, Receipt
from producers.orders import UTC_TIME
from producers.watermark import WatermarkStore

QUERY = f"""
SELECT row_to_json(document)::text
FROM (
  SELECT r.restaurant_id, r.name, r.city, r.cuisine, r.is_open, r.rating::text AS rating,
    COALESCE(menu.items, '[]'::json) AS menu_items,
    to_char(r.created_at, {UTC_TIME}) AS created_at,
    to_char(r.updated_at, {UTC_TIME}) AS updated_at,
    to_char(r.deleted_at, {UTC_TIME}) AS deleted_at
  FROM restaurants r
  LEFT JOIN (
    SELECT m.restaurant_id, json_agg(json_build_object('menu_item_id', m.menu_item_id, 'name', m.name,
      'category', m.category, 'price', m.price::text, 'is_available', m.is_available)
      ORDER BY m.menu_item_id) AS items
    FROM menu_items m GROUP BY m.restaurant_id
  ) menu USING (restaurant_id)
  ORDER BY r.restaurant_id
) document
"""


class RestaurantsSnapshot:
    """Sends all restaurants.

    Args:
        connection: To the shop, autocommit, time zone UTC.
        delivery: Into the restaurants topic.
        watermark: Where the time of the last snapshot is kept.
    """

    def __init__(self, connection: Connection, delivery: Delivery, watermark: WatermarkStore) -> None:
        self._connection = connection
        self._delivery = delivery
        self._watermark = watermark
        self._last = (watermark.load() or {}).get("snapshot_at")

    def due(self, now: datetime) -> bool:
        """Tell whether this hour's snapshot is still to come."""
        if self._last is None:
            return True
        return datetime.fromisoformat(self._last) < now.replace(minute=0, second=0, microsecond=0)

    def take(self, now: datetime) -> Receipt:
        """Send every restaurant, wait for the reports, save the time.

        Args:
            now: The time of the snapshot, which decides the partition date.

        Raises:
            TransientError: not everything was acknowledged; the snapshot is taken again.
            PermanentError: the cluster refuses the records.
        """
        snapshot_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._connection.cursor() as cursor:
            cursor.execute(QUERY)
            documents = [row[0] for row in cursor.fetchall()]
        for document in documents:
            self._delivery.send({**orjson.loads(document), "snapshot_at": snapshot_at})
        receipt = self._delivery.settle()
        self._last = now.astimezone(UTC).isoformat()
        self._watermark.save({"snapshot_at": self._last})
        return receipt
