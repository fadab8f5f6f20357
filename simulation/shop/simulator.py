"""The living shop: orders arrive and walk on, people and restaurants change, all by ordinary statements.

What the shop's application would do belongs here, triggers and constraints included; the past belongs to
`producers.history`. Orders that a replay left open are continued.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from datetime import datetime

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from producers.postgres.database import transient
from simulation.history.randomness import HOURLY_WEIGHTS
from simulation.shop.lifecycle import Progress, advance
from simulation.world import TIERS, World

log = logging.getLogger(__name__)

ORDERS_PER_DAY = 480.0
USER_CHANGES_PER_DAY = 70.0
REGISTRATIONS_PER_DAY = 5.0
RESTAURANT_TURNS_PER_DAY = 300.0
PRICE_CHANGES_PER_DAY = 100.0
CLOSED_ACCOUNTS_PER_DAY = 1.0
TEST_ORDERS_REMOVED_PER_DAY = 1.0
RESTAURANTS_CLOSED_PER_DAY = 0.5
MENU_ITEMS_REMOVED_PER_DAY = 2.0
DAY_SECONDS = 86_400.0
MAX_OPEN_ORDERS = 5_000


class ShopSimulator:
    """Moves the shop forward.

    Args:
        connection: To the shop, autocommit.
        world: What the shop was filled with.
        speed: How many times faster than life; 1 is 480 orders a day.
        draw: Randomness of what happens; the steps of an order depend on the world's seed alone.
    """

    def __init__(
        self, connection: Connection, world: World, *, speed: float = 1.0, draw: random.Random | None = None
    ) -> None:
        self._connection = connection
        self._world = world
        self._speed = speed
        self._draw = draw or random.Random()
        self.counts: Counter[str] = Counter()

    def tick(self, now: datetime, elapsed_seconds: float) -> None:
        """Let happen what happened since the last tick.

        Args:
            now: The time, UTC.
            elapsed_seconds: Since the last tick.

        Raises:
            TransientError: the database went away.
        """
        lived = elapsed_seconds * self._speed / DAY_SECONDS
        hour_share = HOURLY_WEIGHTS[now.hour] * 24 / sum(HOURLY_WEIGHTS)
        try:
            with self._connection.cursor() as cursor:
                for _ in range(self._happens(ORDERS_PER_DAY * hour_share * lived)):
                    self._place_order(cursor)
                self._advance_orders(cursor, now)
                for _ in range(self._happens(USER_CHANGES_PER_DAY * lived)):
                    self._change_user(cursor)
                for _ in range(self._happens(REGISTRATIONS_PER_DAY * lived)):
                    self._register(cursor)
                for _ in range(self._happens(RESTAURANT_TURNS_PER_DAY * lived)):
                    self._turn_restaurant(cursor)
                for _ in range(self._happens(PRICE_CHANGES_PER_DAY * lived)):
                    self._change_price(cursor)
                for _ in range(self._happens(CLOSED_ACCOUNTS_PER_DAY * lived)):
                    self._close_account(cursor)
                for _ in range(self._happens(TEST_ORDERS_REMOVED_PER_DAY * lived)):
                    self._remove_order(cursor)
                for _ in range(self._happens(RESTAURANTS_CLOSED_PER_DAY * lived)):
                    self._close_restaurant(cursor)
                for _ in range(self._happens(MENU_ITEMS_REMOVED_PER_DAY * lived)):
                    self._remove_menu_item(cursor)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise transient(error, "the shop was simulated") from error

    def _happens(self, mean: float) -> int:
        """Draw how often something happens: Poisson."""
        if mean > 50:
            return max(0, round(self._draw.gauss(mean, math.sqrt(mean))))
        limit, product, count = math.exp(-mean), self._draw.random(), 0
        while product > limit:
            product *= self._draw.random()
            count += 1
        return count

    def _place_order(self, cursor: Cursor) -> None:
        draw = self._draw
        cursor.execute(
            "SELECT u.user_id, u.city, r.restaurant_id FROM users u JOIN restaurants r ON r.city = u.city AND r.is_open"
            " WHERE u.is_active AND u.deleted_at IS NULL AND r.deleted_at IS NULL"
            " AND u.user_id >= (SELECT min(user_id) + %s * (count(*) - 1) FROM users)"
            " ORDER BY u.user_id, random() LIMIT 1",
            (draw.random(),),
        )
        chosen = cursor.fetchone()
        if chosen is None:
            return
        user_id, city, restaurant_id = chosen
        cursor.execute(
            "SELECT menu_item_id, name, price FROM menu_items WHERE restaurant_id = %s AND is_available"
            " ORDER BY random() LIMIT %s",
            (restaurant_id, draw.randint(1, 4)),
        )
        dishes = [(item, name, draw.randint(1, 3), price) for item, name, price in cursor.fetchall()]
        if not dishes:
            return
        cursor.execute("BEGIN")
        try:
            cursor.execute(
                "WITH sums AS (SELECT %(subtotal)s::numeric(12,2) AS subtotal, %(fee)s::numeric(12,2) AS fee,"
                " round(%(subtotal)s::numeric * %(percent)s / 100, 2) AS discount)"
                " INSERT INTO orders (user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
                " total) SELECT %(user)s, %(restaurant)s, %(city)s, %(method)s, subtotal, fee, discount,"
                " subtotal + fee - discount FROM sums RETURNING order_id",
                {
                    "subtotal": sum(quantity * price for _, _, quantity, price in dishes),
                    "fee": draw.choice(("0.00", "1.99", "2.99", "3.99")),
                    "percent": draw.randint(5, 24) if draw.random() < 0.15 else 0,
                    "user": user_id,
                    "restaurant": restaurant_id,
                    "city": city,
                    "method": draw.choice(("card", "card", "card", "wallet", "cash")),
                },
            )
            (order_id,) = cursor.fetchone()  # type: ignore[misc]
            execute_values(
                cursor,
                "INSERT INTO order_items (order_id, line_no, menu_item_id, name, quantity, unit_price) VALUES %s",
                [(order_id, number, *dish) for number, dish in enumerate(dishes, start=1)],
            )
            cursor.execute("COMMIT")
        except BaseException:
            if not self._connection.closed:
                cursor.execute("ROLLBACK")
            raise
        self.counts["orders_placed"] += 1

    def _advance_orders(self, cursor: Cursor, now: datetime) -> None:
        cursor.execute(
            "SELECT order_id, status, updated_at FROM orders WHERE status NOT IN ('delivered', 'cancelled')"
            " AND deleted_at IS NULL ORDER BY order_id LIMIT %s",
            (MAX_OPEN_ORDERS,),
        )
        for order_id, status, updated_at in cursor.fetchall():
            before = Progress(status, updated_at)
            after = advance(order_id, before, now, seed=self._world.seed, speed=self._speed)
            if after is before:
                continue
            # The courier's app reports the true time of delivery, also when the row is written later.
            cursor.execute(
                "UPDATE orders SET status = %s, delivered_at = %s, cancelled_at = %s"
                " WHERE order_id = %s AND status = %s",
                (
                    after.status,
                    after.at if after.status == "delivered" else None,
                    after.at if after.status == "cancelled" else None,
                    order_id,
                    status,
                ),
            )
            self.counts["orders_advanced"] += cursor.rowcount

    def _change_user(self, cursor: Cursor) -> None:
        draw = self._draw
        if draw.random() < 0.8:
            change, value = "tier = %s", draw.choice(TIERS)
        else:
            change, value = "city = %s", draw.choice(self._world.cities)
        user_id = draw.randint(1, self._world.size.users)
        cursor.execute(f"UPDATE users SET {change} WHERE user_id = %s AND deleted_at IS NULL", (value, user_id))
        self.counts["users_changed"] += cursor.rowcount

    def _register(self, cursor: Cursor) -> None:
        draw = self._draw
        cursor.execute("SELECT nextval(pg_get_serial_sequence('users', 'user_id'))")
        (user_id,) = cursor.fetchone()  # type: ignore[misc]
        name, email = self._world.person(draw.randrange(300), draw.randrange(300), int(user_id))
        cursor.execute(
            "INSERT INTO users (user_id, name, email, city, tier) VALUES (%s, %s, %s, %s, %s)",
            (user_id, name, email, draw.choice(self._world.cities), TIERS[0]),
        )
        self.counts["users_registered"] += 1

    def _turn_restaurant(self, cursor: Cursor) -> None:
        # The first restaurant of each city stays open, so that every order finds a kitchen.
        first = self._world.size.cities
        if self._world.size.restaurants == first:
            return
        restaurant_id = self._draw.randint(first + 1, self._world.size.restaurants)
        cursor.execute(
            "UPDATE restaurants SET is_open = NOT is_open WHERE restaurant_id = %s AND deleted_at IS NULL",
            (restaurant_id,),
        )
        self.counts["restaurants_turned"] += cursor.rowcount

    def _change_price(self, cursor: Cursor) -> None:
        restaurant_id = self._draw.randint(1, self._world.size.restaurants)
        cursor.execute(
            "UPDATE menu_items SET price = round(price * %s, 2) WHERE menu_item_id ="
            " (SELECT menu_item_id FROM menu_items WHERE restaurant_id = %s ORDER BY random() LIMIT 1)",
            (self._draw.choice(("0.95", "1.03", "1.05")), restaurant_id),
        )
        self.counts["prices_changed"] += cursor.rowcount

    def _close_account(self, cursor: Cursor) -> None:
        cursor.execute(
            "UPDATE users SET is_active = false, deleted_at = clock_timestamp() WHERE deleted_at IS NULL AND user_id ="
            " (SELECT min(user_id) FROM users WHERE deleted_at IS NULL AND user_id >= %s)",
            (self._draw.randint(1, self._world.size.users),),
        )
        self.counts["accounts_closed"] += cursor.rowcount

    def _remove_order(self, cursor: Cursor) -> None:
        # A test order is noticed soon: one of the latest hundred.
        cursor.execute(
            "DELETE FROM orders WHERE order_id ="
            " (SELECT order_id FROM orders ORDER BY created_at DESC OFFSET %s LIMIT 1)",
            (self._draw.randrange(100),),
        )
        self.counts["orders_removed"] += cursor.rowcount

    def _close_restaurant(self, cursor: Cursor) -> None:
        # See `_turn_restaurant` for the first ones.
        first = self._world.size.cities
        if self._world.size.restaurants == first:
            return
        cursor.execute(
            "UPDATE restaurants SET is_open = false, deleted_at = clock_timestamp()"
            " WHERE restaurant_id = %s AND deleted_at IS NULL",
            (self._draw.randint(first + 1, self._world.size.restaurants),),
        )
        self.counts["restaurants_closed"] += cursor.rowcount

    def _remove_menu_item(self, cursor: Cursor) -> None:
        # A menu never becomes empty, and orders keep the items that they refer to.
        cursor.execute(
            "DELETE FROM menu_items WHERE menu_item_id = (SELECT m.menu_item_id FROM menu_items m"
            " WHERE m.restaurant_id = %s AND NOT EXISTS (SELECT FROM order_items i"
            " WHERE i.menu_item_id = m.menu_item_id)"
            " AND (SELECT count(*) FROM menu_items o WHERE o.restaurant_id = m.restaurant_id) > 1"
            " ORDER BY random() LIMIT 1)",
            (self._draw.randint(1, self._world.size.restaurants),),
        )
        self.counts["menu_items_removed"] += cursor.rowcount
