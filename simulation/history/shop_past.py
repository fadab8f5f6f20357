"""One day of the shop's past, written into Postgres as it happened: orders and their steps, users, restaurants.

Rows keep the times they had then. What happens on a day is a pure function of (seed, day); a row that is already
further than the past says is left alone, so a day may be played again. Reading it for Kafka belongs to the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from platform_core.errors import ConfigurationError
from simulation.history.orders_day import CANCELLED, DELIVERED, PAYMENT_METHODS, STATUSES, OrdersDay, steps_between
from simulation.history.randomness import DAY_US, Stream, generator
from simulation.shop.seed import dish_name, midnight, moment, money, not_deleted, past_transaction
from simulation.world import MENU_IDS_PER_RESTAURANT, TIERS, World, day_ids

MINUTE_US = 60_000_000


class ShopDay:
    """Plays one day.

    Args:
        connection: To the shop, autocommit, as the tables' owner.
        world: Whose day.
        yesterday: The orders of the day before: some are still on their way after midnight.
    """

    def __init__(self, connection: Connection, world: World, today: OrdersDay, yesterday: OrdersDay) -> None:
        self._connection = connection
        self._world = world
        self._today = today
        self._yesterday = yesterday
        self.day: date = today.day
        self._first_line = np.searchsorted(today.line_order, np.arange(len(today) + 1))
        self._user_changes = _user_changes(world, today.day)
        self._registrations = _registrations(world, today.day)

    def begin(self) -> None:
        """Set what changes as the day begins: menus and ratings."""
        world, at = self._world, midnight(self.day)
        before, after = world.menu_state(self.day - timedelta(days=1)), world.menu_state(self.day)
        differs = (before.price_cents != after.price_cents) | (before.is_available != after.is_available)
        menu = [
            (
                (int(restaurant) + 1) * MENU_IDS_PER_RESTAURANT + int(dish) + 1,
                money(int(after.price_cents[restaurant, dish])),
                bool(after.is_available[restaurant, dish]),
                at,
            )
            for restaurant, dish in np.argwhere(differs)
        ]
        old, new = world.ratings(self.day - timedelta(days=1)), world.ratings(self.day)
        ratings = [(int(index) + 1, money(int(new[index])), at) for index in np.nonzero(old != new)[0]]
        with past_transaction(self._connection) as cursor:
            cursor.execute(
                "INSERT INTO shop_days (day, orders) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (self.day, len(self._today)),
            )
            _update(
                cursor,
                "UPDATE menu_items m SET price = v.price::numeric, is_available = v.is_available, updated_at = v.at"
                " FROM (VALUES %s) v(id, price, is_available, at) WHERE m.menu_item_id = v.id AND m.updated_at < v.at",
                menu,
            )
            _update(
                cursor,
                "UPDATE restaurants r SET rating = v.rating::numeric, updated_at = v.at"
                " FROM (VALUES %s) v(id, rating, at) WHERE r.restaurant_id = v.id AND r.updated_at < v.at",
                ratings,
            )

    def play(self, start_us: int, end_us: int) -> None:
        """Write what happened with start <= time < end, in one transaction.

        Args:
            start_us: Microseconds since midnight.
            end_us: Microseconds since midnight, at most a day.
        """
        with past_transaction(self._connection) as cursor:
            self._place(cursor, start_us, end_us)
            self._walk(cursor, self._yesterday, start_us + DAY_US, end_us + DAY_US)
            self._walk(cursor, self._today, start_us, end_us)
            self._change_users(cursor, start_us, end_us)
            self._open_and_close(cursor, start_us, end_us)

    def _place(self, cursor: Cursor, start_us: int, end_us: int) -> None:
        orders, world = self._today, self._world
        first, last = np.searchsorted(orders.placed_us, [start_us, end_us])
        # An order that was deleted since stays so: its old version would be live here and lose downstream.
        cursor.execute(
            "SELECT order_id FROM orders_tombstones WHERE order_id = ANY(%s)",
            ([int(order) for order in orders.order_id[first:last]],),
        )
        deleted = {row[0] for row in cursor.fetchall()}
        rows, lines = [], []
        for index in range(int(first), int(last)):
            if int(orders.order_id[index]) in deleted:
                continue
            at = moment(self.day, orders.placed_us[index])
            subtotal, fee = int(orders.subtotal_cents[index]), int(orders.fee_cents[index])
            discount = int(orders.discount_cents[index])
            restaurant = int(orders.restaurant[index])
            rows.append(
                (
                    int(orders.order_id[index]),
                    int(orders.user[index]) + 1,
                    restaurant + 1,
                    world.cities[orders.city[index]],
                    STATUSES[0],
                    PAYMENT_METHODS[orders.payment[index]],
                    money(subtotal),
                    money(fee),
                    money(discount),
                    money(subtotal + fee - discount),
                    at,
                    at,
                )
            )
            span = range(int(self._first_line[index]), int(self._first_line[index + 1]))
            for number, line in enumerate(span, start=1):
                dish = int(orders.line_dish[line])
                lines.append(
                    (
                        int(orders.order_id[index]),
                        number,
                        (restaurant + 1) * MENU_IDS_PER_RESTAURANT + dish + 1,
                        dish_name(world, restaurant, dish),
                        int(orders.line_quantity[line]),
                        money(int(orders.line_price_cents[line])),
                    )
                )
        if rows:
            execute_values(
                cursor,
                "INSERT INTO orders (order_id, user_id, restaurant_id, city, status, payment_method, subtotal,"
                " delivery_fee, discount, total, created_at, updated_at) VALUES %s ON CONFLICT DO NOTHING",
                rows,
                page_size=1_000,
            )
            execute_values(
                cursor,
                "INSERT INTO order_items (order_id, line_no, menu_item_id, name, quantity, unit_price) VALUES %s"
                " ON CONFLICT DO NOTHING",
                lines,
                page_size=1_000,
            )

    def _walk(self, cursor: Cursor, orders: OrdersDay, start_us: int, end_us: int) -> None:
        steps = steps_between(orders, start_us, end_us)
        # Only an order's last step of the window is left to be seen when the window is over.
        latest = {int(order): row for row, order in enumerate(steps.order)}
        rows = []
        for order, row in latest.items():
            status, at = int(steps.status[row]), moment(orders.day, steps.at_us[row])
            delivered = at if status == DELIVERED else None
            cancelled = at if status == CANCELLED else None
            rows.append((int(orders.order_id[order]), STATUSES[status], at, delivered, cancelled))
        _update(
            cursor,
            "UPDATE orders o SET status = v.status, updated_at = v.at, delivered_at = v.delivered_at::timestamptz,"
            " cancelled_at = v.cancelled_at::timestamptz FROM (VALUES %s) v(id, status, at, delivered_at, cancelled_at)"
            " WHERE o.order_id = v.id AND o.updated_at < v.at",
            rows,
        )

    def _change_users(self, cursor: Cursor, start_us: int, end_us: int) -> None:
        _update(
            cursor,
            "UPDATE users u SET city = v.city, tier = v.tier, is_active = v.is_active, updated_at = v.at"
            " FROM (VALUES %s) v(id, city, tier, is_active, at) WHERE u.user_id = v.id AND u.updated_at < v.at",
            [row for at, row in self._user_changes if start_us <= at < end_us],
        )
        registered = not_deleted(cursor, [row for at, row in self._registrations if start_us <= at < end_us])
        if registered:
            execute_values(
                cursor,
                "INSERT INTO users (user_id, name, email, city, tier, created_at, updated_at) VALUES %s"
                " ON CONFLICT DO NOTHING",
                registered,
            )

    def _open_and_close(self, cursor: Cursor, start_us: int, end_us: int) -> None:
        world = self._world
        rows = []
        for minutes, is_open in ((world.opens_minute, True), (world.closes_minute, False)):
            at_us = minutes * MINUTE_US
            turning = np.nonzero((at_us >= start_us) & (at_us < end_us) & ~world.always_open)[0]
            rows += [(int(index) + 1, is_open, moment(self.day, at_us[index])) for index in turning]
        _update(
            cursor,
            "UPDATE restaurants r SET is_open = v.is_open, updated_at = v.at FROM (VALUES %s) v(id, is_open, at)"
            " WHERE r.restaurant_id = v.id AND r.updated_at < v.at",
            rows,
        )


def played_days(connection: Connection, days: Sequence[date], orders: int) -> dict[date, int]:
    """Return how many orders each day has that was ever played.

    Args:
        connection: To the shop.
        days: Days that are to be played.
        orders: How many orders they are to have.

    Raises:
        ConfigurationError: one of the days was played with another number.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT day, orders FROM shop_days")
        played: dict[date, int] = dict(cursor.fetchall())
    for day in days:
        if played.get(day, orders) != orders:
            raise ConfigurationError(
                f"Date `{day}` was replayed with {played[day]} orders, and not {orders}: its order ids mean other"
                " orders. Use the same `--events-per-day`, other days, or an empty database.",
            )
    return played


def ticks(seconds: int) -> Iterable[tuple[int, int]]:
    """Return a day's windows of this length, in microseconds since midnight."""
    edges = [*range(0, DAY_US, seconds * 1_000_000), DAY_US]
    return pairwise(edges)


def _update(cursor: Cursor, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        execute_values(cursor, statement, rows, page_size=5_000)


def _user_changes(world: World, day: date) -> list[tuple[int, tuple[Any, ...]]]:
    state = world.users_state(day)
    changes = []
    for index in np.nonzero(state.changed_on == day.toordinal())[0]:
        at_us = int(state.changed_at_us[index])
        row = (
            int(index) + 1,
            world.cities[state.city[index]],
            TIERS[state.tier[index]],
            bool(state.is_active[index]),
            moment(day, at_us),
        )
        changes.append((at_us, row))
    return changes


def _registrations(world: World, day: date) -> list[tuple[int, tuple[Any, ...]]]:
    """Newcomers of a day; they begin to order under the live simulator, never within the history."""
    rng = generator(world.seed, day, Stream.REGISTRATIONS)
    count = int(rng.integers(2, 9))
    people = []
    for user_id in day_ids(day, count):
        first, last, city = (int(value) for value in rng.integers(0, [300, 300, len(world.cities)]))
        at_us = int(rng.integers(0, 85_800)) * 1_000_000
        name, email = world.person(first, last, int(user_id))
        at = moment(day, at_us)
        people.append((at_us, (int(user_id), name, email, world.cities[city], TIERS[0], at, at)))
    return people
