"""The hourly snapshot of restaurants: every one of them, with its whole menu.

The query and the schedule belong here, comparing with the snapshot before it to `producers.snapshot_memory`, sending
to `producers.delivery`. A snapshot is one statement and so one consistent view, docs/architecture.md.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import orjson
from psycopg2.extensions import connection as Connection

from producers.delivery import Delivery, Receipt
from producers.orders import UTC_TIME
from producers.snapshot_memory import Documents, SnapshotRefusedError, refuse_a_loss, removed_items, vanished
from producers.watermark import WatermarkStore

log = logging.getLogger(__name__)

NAMED = 10

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
    """Sends all restaurants, and once more each that is no longer there.

    Args:
        connection: To the shop, autocommit.
        delivery: Into the restaurants topic.
        watermark: Where the last snapshot is kept: its time and its documents.

    Attributes:
        refused: Why the last snapshot was not sent; None when it was.
    """

    def __init__(self, connection: Connection, delivery: Delivery, watermark: WatermarkStore) -> None:
        self._connection = connection
        self._delivery = delivery
        self._watermark = watermark
        self._last: str | None = (watermark.load() or {}).get("snapshot_at")
        self._refused_at: datetime | None = None
        self.refused: SnapshotRefusedError | None = None

    def due(self, now: datetime) -> bool:
        """Tell whether this hour's snapshot is still to come; one that was refused is not tried again this hour."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        if self._refused_at is not None and self._refused_at >= hour:
            return False
        return self._last is None or datetime.fromisoformat(self._last) < hour

    def take(self, now: datetime, *, accept_loss: bool = False) -> Receipt:
        """Send every restaurant, wait for the reports, save the snapshot.

        Args:
            now: The time of the snapshot, which decides the partition date.
            accept_loss: Whether a snapshot that lacks most of the last one is meant.

        Raises:
            SnapshotRefusedError: it lacks most of the last one; nothing was sent and nothing saved.
            TransientError: not everything was acknowledged; the snapshot is taken again.
            PermanentError: the cluster refuses the records.
        """
        snapshot_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._connection.cursor() as cursor:
            cursor.execute(QUERY)
            found = [orjson.loads(row[0]) for row in cursor.fetchall()]
        documents = {str(document["restaurant_id"]): document for document in found}
        # Asked for each time: another process may have accepted the loss meanwhile, and 2,000 menus need not be held.
        before = (self._watermark.load() or {}).get("restaurants", {})
        if not accept_loss:
            self._refuse_a_loss(before, documents, now)
        gone = vanished(before, documents, snapshot_at)
        for document in (*found, *gone):
            self._delivery.send({**document, "snapshot_at": snapshot_at})
        receipt = self._delivery.settle()
        _tell(before, documents, gone)
        last = now.astimezone(UTC).isoformat()
        # What vanished is forgotten only here, after the reports: a crash before sends it again.
        self._watermark.save({"snapshot_at": last, "restaurants": documents})
        self._last = last
        self.refused = self._refused_at = None
        return receipt

    def _refuse_a_loss(self, before: Documents, documents: Documents, now: datetime) -> None:
        try:
            refuse_a_loss(before, documents)
        except SnapshotRefusedError as error:
            self.refused, self._refused_at = error, now
            raise


def _tell(before: Documents, documents: Documents, gone: list[dict[str, Any]]) -> None:
    if gone:
        ids = [document["restaurant_id"] for document in gone]
        log.info("restaurants_removed restaurants=%d first=%s", len(ids), ids[:NAMED])
    removed = removed_items(before, documents)
    if removed:
        items = [item for some in removed.values() for item in some]
        log.info("menu_items_removed restaurants=%d items=%d first=%s", len(removed), len(items), items[:NAMED])
