"""Fills the shop with a world's users, restaurants and menus as they stood on a day.

Only master data and the world's identity belong here; orders come from the simulator or from a replay. Rows that
somebody changed later are never set back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2.errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from platform_core.errors import ConfigurationError
from simulation.shop.schema import create_schema
from simulation.world import CATEGORIES, CUISINES, DISHES, MENU_IDS_PER_RESTAURANT, OPENING_DAY, TIERS, World, WorldSize

STAMPED_TABLES = ("users", "restaurants", "menu_items", "orders", "order_items")
TRIGGERS_OFF = "SET LOCAL session_replication_role = replica"
SERIALS = {
    "users": "user_id",
    "restaurants": "restaurant_id",
    "menu_items": "menu_item_id",
    "orders": "order_id",
}


def midnight(day: date) -> datetime:
    """Return the first moment of a UTC day."""
    return datetime.combine(day, datetime.min.time(), UTC)


def moment(day: date, microseconds: int) -> datetime:
    """Return the time that lies so many microseconds after a day's midnight."""
    return midnight(day) + timedelta(microseconds=int(microseconds))


def money(cents: int) -> str:
    """Return cents as a decimal text with two places."""
    return f"{cents // 100}.{cents % 100:02d}"


@contextmanager
def past_transaction(connection: Connection) -> Iterator[Cursor]:
    """Open a transaction in which no trigger stamps `updated_at`, so that rows keep their past.

    Who may set `session_replication_role` switches triggers off for the transaction; an owner who may not disables them
    on the tables, which locks out other writers until the transaction ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            _silence_triggers(cursor)
            yield cursor
            _restore_triggers(cursor)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise


def _silence_triggers(cursor: Cursor) -> None:
    cursor.execute("SAVEPOINT before_triggers")
    try:
        cursor.execute(TRIGGERS_OFF)
    except psycopg2.errors.InsufficientPrivilege:
        cursor.execute("ROLLBACK TO SAVEPOINT before_triggers")
        for table in STAMPED_TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


def _restore_triggers(cursor: Cursor) -> None:
    cursor.execute("SELECT current_setting('session_replication_role')")
    if cursor.fetchone() != ("replica",):
        for table in STAMPED_TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def seed_shop(connection: Connection, world: World, before: date = OPENING_DAY) -> None:
    """Create the schema and bring users, restaurants and menus to where they stood as `before` began.

    Rows that changed on or after `before` stay as they are.

    Args:
        connection: To the shop, autocommit, as the tables' owner.
        world: What to fill in.
        before: The day that has not begun yet.

    Raises:
        ConfigurationError: the shop was filled with another world.
    """
    create_schema(connection)
    with past_transaction(connection) as cursor:
        _claim_world(cursor, world)
        _seed_users(cursor, world, before)
        _seed_restaurants(cursor, world, before)
        _seed_menus(cursor, world, before)
    advance_serials(connection)


def read_world(connection: Connection) -> World:
    """Return the world that the shop was filled with.

    Raises:
        ConfigurationError: the shop is empty.
    """
    create_schema(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT seed, users, restaurants, menu_items, cities FROM shop_world")
        row = cursor.fetchone()
    if row is None:
        raise ConfigurationError("The shop is empty. Run `python -m simulation shop-init`, or `replay`, first.")
    return World(row[0], WorldSize(*row[1:]))


def advance_serials(connection: Connection) -> None:
    """Let new rows get identifiers above all that exist."""
    with connection.cursor() as cursor:
        for table, column in SERIALS.items():
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                f" GREATEST((SELECT max({column}) FROM {table}), 1))"
            )


def _claim_world(cursor: Cursor, world: World) -> None:
    size = world.size
    wanted = (world.seed, size.users, size.restaurants, size.menu_items, size.cities)
    cursor.execute(
        "INSERT INTO shop_world (seed, users, restaurants, menu_items, cities) VALUES %s ON CONFLICT DO NOTHING",
        (wanted,),
    )
    cursor.execute("SELECT seed, users, restaurants, menu_items, cities FROM shop_world")
    found = cursor.fetchone()
    if found != wanted:
        names = ("seed", "users", "restaurants", "menu_items", "cities")
        is_now = ", ".join(f"{name} {value}" for name, value in zip(names, found or (), strict=False))
        raise ConfigurationError(
            f"The shop was filled with another world ({is_now}), and its orders refer to it. Use the same seed and"
            " sizes, or an empty database.",
        )


def _seed_users(cursor: Cursor, world: World, before: date) -> None:
    state = world.users_state(before - timedelta(days=1))
    rows = []
    for index in range(world.size.users):
        name, email = world.user_name(index)
        joined = world.joined_at(index)
        changed = moment(date.fromordinal(int(state.changed_on[index])), state.changed_at_us[index])
        rows.append(
            (
                index + 1,
                name,
                email,
                world.cities[state.city[index]],
                TIERS[state.tier[index]],
                bool(state.is_active[index]),
                joined,
                max(joined, changed),
            )
        )
    execute_values(
        cursor,
        "INSERT INTO users (user_id, name, email, city, tier, is_active, created_at, updated_at) VALUES %s"
        " ON CONFLICT (user_id) DO UPDATE SET city = excluded.city, tier = excluded.tier,"
        " is_active = excluded.is_active, updated_at = excluded.updated_at"
        f" WHERE users.updated_at < '{midnight(before).isoformat()}' AND users.updated_at < excluded.updated_at",
        not_deleted(cursor, rows),
        page_size=1_000,
    )


def not_deleted(cursor: Cursor, users: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows of users, their id first, without those that were deleted since: they do not come back."""
    cursor.execute("SELECT user_id FROM users_tombstones")
    deleted = {row[0] for row in cursor.fetchall()}
    return [row for row in users if row[0] not in deleted]


def _seed_restaurants(cursor: Cursor, world: World, before: date) -> None:
    yesterday = before - timedelta(days=1)
    opened = datetime(OPENING_DAY.year - 1, 6, 1, tzinfo=UTC)
    is_open, ratings = world.is_open(1439), world.ratings(yesterday)
    rows = []
    for index in range(world.size.restaurants):
        last_minute = max(int(world.opens_minute[index]), int(world.closes_minute[index]))
        rows.append(
            (
                index + 1,
                world.restaurant_names[index],
                world.cities[world.restaurant_city[index]],
                CUISINES[world.cuisine[index]],
                bool(is_open[index]),
                money(int(ratings[index])),
                opened,
                moment(yesterday, last_minute * 60_000_000),
            )
        )
    execute_values(
        cursor,
        "INSERT INTO restaurants (restaurant_id, name, city, cuisine, is_open, rating, created_at, updated_at)"
        " VALUES %s ON CONFLICT (restaurant_id) DO UPDATE SET is_open = excluded.is_open, rating = excluded.rating,"
        " updated_at = excluded.updated_at"
        f" WHERE restaurants.updated_at < '{midnight(before).isoformat()}'"
        " AND restaurants.updated_at < excluded.updated_at",
        rows,
        page_size=1_000,
    )


def _seed_menus(cursor: Cursor, world: World, before: date) -> None:
    yesterday = before - timedelta(days=1)
    state = world.menu_state(yesterday)
    rows = []
    for restaurant in range(world.size.restaurants):
        for dish in range(world.size.menu_items):
            rows.append(
                (
                    (restaurant + 1) * MENU_IDS_PER_RESTAURANT + dish + 1,
                    restaurant + 1,
                    dish_name(world, restaurant, dish),
                    CATEGORIES[dish % len(CATEGORIES)],
                    money(int(state.price_cents[restaurant, dish])),
                    bool(state.is_available[restaurant, dish]),
                    midnight(yesterday),
                )
            )
    execute_values(
        cursor,
        "INSERT INTO menu_items (menu_item_id, restaurant_id, name, category, price, is_available, updated_at)"
        " VALUES %s ON CONFLICT (menu_item_id) DO UPDATE SET price = excluded.price, "
        "is_available = excluded.is_available, updated_at = excluded.updated_at"
        f" WHERE menu_items.updated_at < '{midnight(before).isoformat()}'"
        " AND menu_items.updated_at < excluded.updated_at",
        rows,
        page_size=1_000,
    )


def dish_name(world: World, restaurant: int, dish: int) -> str:
    """Name of a dish on a restaurant's menu."""
    return f"{CUISINES[world.cuisine[restaurant]]} {DISHES[dish % len(DISHES)]} {dish + 1}"
