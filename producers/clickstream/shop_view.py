"""What the live clickstream needs to know of the shop: who may visit, what they may look at, what they ordered.

Read-only queries for visits belong here; how a visit goes belongs to `producers.clickstream.crowd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection

from platform_core.errors import TransientError


@dataclass(frozen=True)
class Visitor:
    """A user who may visit."""

    user_id: int
    city: str


@dataclass(frozen=True)
class Kitchen:
    """A restaurant and the identifiers of its dishes."""

    restaurant_id: int
    menu_item_ids: tuple[int, ...]


@dataclass(frozen=True)
class PlacedOrder:
    """An order as its visit tells it."""

    order_id: int
    visitor: Visitor
    restaurant_id: int
    payment_method: str
    lines: tuple[tuple[int, int], ...]


class ShopView:
    """Reads the shop.

    Args:
        connection: To the shop, autocommit.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def visitors(self) -> list[Visitor]:
        """Return the active users.

        Raises:
            TransientError: there are none yet.
        """
        rows = self._some("SELECT user_id, city FROM users WHERE is_active AND deleted_at IS NULL ORDER BY user_id")
        return [Visitor(*row) for row in rows]

    def kitchens(self) -> dict[str, list[Kitchen]]:
        """Return the restaurants by city.

        Raises:
            TransientError: there are none yet.
        """
        rows = self._some(
            "SELECT r.city, r.restaurant_id, array_agg(m.menu_item_id ORDER BY m.menu_item_id) FROM restaurants r"
            " JOIN menu_items m USING (restaurant_id) WHERE r.deleted_at IS NULL GROUP BY 1, 2 ORDER BY 2"
        )
        cities: dict[str, list[Kitchen]] = {}
        for city, restaurant_id, items in rows:
            cities.setdefault(city, []).append(Kitchen(restaurant_id, tuple(items)))
        return cities

    def now(self) -> datetime:
        """Return the server's time, with which `created_at` is compared."""
        at: datetime = self._rows("SELECT now()")[0][0]
        return at

    def orders_since(self, at: datetime, limit: int = 500) -> list[tuple[datetime, PlacedOrder]]:
        """Return orders placed after a time, oldest first, with when each was placed."""
        rows = self._rows(
            "SELECT o.created_at, o.order_id, o.user_id, u.city, o.restaurant_id, o.payment_method,"
            " array_agg(i.menu_item_id ORDER BY i.line_no), array_agg(i.quantity ORDER BY i.line_no)"
            " FROM orders o JOIN users u USING (user_id) JOIN order_items i USING (order_id)"
            " WHERE o.created_at > %s AND o.created_at <= now() AND o.deleted_at IS NULL"
            " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2 LIMIT %s",
            (at, limit),
        )
        return [(row[0], _order(*row[1:])) for row in rows]

    def open_orders(self, limit: int = 500) -> list[PlacedOrder]:
        """Return orders that somebody may be waiting for."""
        rows = self._rows(
            "SELECT o.order_id, o.user_id, u.city, o.restaurant_id, o.payment_method, ARRAY[]::bigint[], ARRAY[]::int[]"
            " FROM orders o JOIN users u USING (user_id)"
            " WHERE o.status NOT IN ('delivered', 'cancelled') AND o.deleted_at IS NULL"
            " ORDER BY o.order_id DESC LIMIT %s",
            (limit,),
        )
        return [_order(*row) for row in rows]

    def _some(self, statement: str) -> list[tuple]:  # type: ignore[type-arg]
        rows = self._rows(statement)
        if not rows:
            raise TransientError("The shop has no users or no menus. Run `python -m simulation shop-init`.")
        return rows

    def _rows(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()


def _order(
    order_id: int,
    user_id: int,
    city: str,
    restaurant_id: int,
    payment_method: str,
    items: list[int],
    quantities: list[int],
) -> PlacedOrder:
    lines = tuple(zip(items, quantities, strict=True))
    return PlacedOrder(order_id, Visitor(user_id, city), restaurant_id, payment_method, lines)
