"""Deletes, from the shop to Kafka: soft ones, hard ones, keys that come back, restaurants and menus that vanish."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2.errors
import pytest
from psycopg2.extensions import connection as Connection

from producers.postgres.fence import MAX_ID
from producers.postgres.poller import TablePoller
from producers.postgres.query import changes_query
from producers.postgres.snapshot import Snapshot
from producers.postgres.snapshot_memory import SnapshotRefusedError
from producers.watermark import FileWatermark
from simulation.history.replay import Plan, replay
from simulation.history.virtual import MemoryWatermark
from simulation.shop import simulator as simulator_module
from simulation.shop.seed import past_transaction, seed_shop
from simulation.shop.simulator import DAY_SECONDS, ShopSimulator
from simulation.world import World, WorldSize

WORLD = World(7, WorldSize(users=6, restaurants=6, menu_items=4, cities=2))
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PLACE = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) VALUES (%(id)s, 1, 1, 'x', 'card', 10, 1, 0, 11);"
    " INSERT INTO order_items VALUES (%(id)s, 1, 101, 'soup', 2, 5.00)"
)
REGISTER = (
    "INSERT INTO users (user_id, name, email, city, tier) VALUES (%(id)s, 'n', '%(id)s@secret.example', 'x', 'gold')"
)


@pytest.fixture
def shop(producers_rig: Any) -> Any:
    connection = producers_rig.connect()
    seed_shop(connection, WORLD)
    return connection


def run(connection: Connection, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def folded(records: list[dict[str, Any]], key: str) -> dict[int, dict[str, Any]]:
    """The latest version of each key, as Silver keeps it."""
    latest: dict[int, dict[str, Any]] = {}
    for record in records:
        if record[key] not in latest or record["updated_at"] > latest[record[key]]["updated_at"]:
            latest[record[key]] = record
    return latest


@pytest.mark.parametrize("seed", [1, 2])
def test_the_latest_records_of_kafka_are_the_live_rows_of_postgres(provisioned: Any, shop: Any, seed: int) -> None:
    draw, seen = random.Random(seed), set()
    connection = provisioned.connect()
    orders = TablePoller(connection, provisioned.delivery("orders"), MemoryWatermark(), page_rows=3)
    users = TablePoller(connection, provisioned.delivery("users"), MemoryWatermark())
    changes = {
        "orders": [
            "UPDATE orders SET status = 'confirmed' WHERE order_id = %(id)s",
            "UPDATE order_items SET quantity = 3 WHERE order_id = %(id)s",
            "UPDATE orders SET deleted_at = now() WHERE order_id = %(id)s",
            "DELETE FROM orders WHERE order_id = %(id)s",
        ],
        "users": [
            "UPDATE users SET tier = 'silver' WHERE user_id = %(id)s",
            "UPDATE users SET deleted_at = now(), is_active = false WHERE user_id = %(id)s",
            "DELETE FROM users WHERE user_id = %(id)s",
        ],
    }
    for _ in range(250):
        table, key, insert = draw.choice([("orders", "order_id", PLACE), ("users", "user_id", REGISTER)])
        row = draw.randint(1_001, 1_012)
        seen.add((table, row))
        if not run(shop, f"SELECT 1 FROM {table} WHERE {key} = %(id)s", id=row):
            run(shop, insert, id=row)
        else:
            run(shop, draw.choice(changes[table]), id=row)
        if draw.random() < 0.2:
            orders.poll()
            users.poll(NOON)
    orders.poll()
    users.poll(NOON)
    for table, key, total in (("orders", "order_id", "total::text"), ("users", "user_id", "tier")):
        sent = folded(provisioned.records(table), key)
        live = {row: record for row, record in sent.items() if record["deleted_at"] is None}
        there = run(shop, f"SELECT {key}, {total}, updated_at FROM {table} WHERE deleted_at IS NULL")
        assert {row: (r[total.split(":")[0]], datetime.fromisoformat(r["updated_at"])) for row, r in live.items()} == {
            row[0]: row[1:] for row in there
        }, f"seed {seed}"
        assert {row for name, row in seen if name == table} <= set(sent)
        gone = [row for row in sent if not run(shop, f"SELECT 1 FROM {table} WHERE {key} = %(id)s", id=row)]
        assert gone, "the history has no hard delete that stayed"
    assert not any("secret" in record["email_masked"][:5] for record in provisioned.records("users"))
    assert run(shop, "SELECT count(*) FROM users_tombstones WHERE email_masked NOT LIKE '_***@%'") == [(0,)]


def test_an_order_lives_on_the_date_of_its_creation_alone(provisioned: Any, shop: Any) -> None:
    draw = random.Random(3)
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark(), page_rows=3)
    for order in range(1, 6):
        run(shop, PLACE, id=order)
    for _ in range(120):
        days = draw.choice([-2, -1, 0, 1, 2])
        move = (
            "UPDATE orders SET created_at = least(created_at + interval '1 day' * %(days)s, now() - interval '1 hour')"
            " WHERE order_id = %(id)s"
        )
        run(shop, move, id=draw.randint(1, 4), days=days)
        if draw.random() < 0.3:
            poller.poll()
    run(shop, "UPDATE orders SET created_at = created_at - interval '40 days' WHERE order_id = 5")
    run(shop, "DELETE FROM orders WHERE order_id = 5")
    poller.poll()
    latest: dict[tuple[int, str], dict[str, Any]] = {}
    for record in sorted(provisioned.records("orders"), key=lambda r: r["updated_at"]):
        latest[record["order_id"], record["created_at"][:10]] = record
    alive = {place for place, record in latest.items() if record["deleted_at"] is None}
    rows = run(shop, "SELECT order_id, (created_at AT TIME ZONE 'UTC')::date::text FROM orders")
    assert alive == set(rows) and {order for order, _ in rows} == {1, 2, 3, 4}
    assert len(latest) > 8, "orders have lived on several dates"


def test_a_tombstone_is_the_last_version_with_its_lines(provisioned: Any, shop: Any) -> None:
    run(shop, PLACE, id=1)
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark())
    poller.poll()
    run(shop, "DELETE FROM orders WHERE order_id = 1")
    assert (poller.poll().total, poller.poll().total) == (1, 0)
    alive, deleted = sorted(provisioned.records("orders"), key=lambda r: r["updated_at"])
    assert deleted["items"] == [{"menu_item_id": 101, "name": "soup", "quantity": 2, "unit_price": "5.00"}]
    assert deleted["deleted_at"] == deleted["updated_at"] > alive["updated_at"]
    assert {**deleted, "updated_at": None, "deleted_at": None} == {**alive, "updated_at": None}
    assert list(deleted) == list(alive)

    run(shop, PLACE, id=1)
    poller.poll()
    assert folded(provisioned.records("orders"), "order_id")[1]["deleted_at"] is None


def test_a_key_that_comes_back_is_later_than_its_tombstone_whatever_the_clock_says(shop: Any) -> None:
    run(shop, PLACE, id=1)
    run(shop, REGISTER, id=1_001)
    run(shop, "DELETE FROM orders; DELETE FROM users WHERE user_id = 1001")
    run(
        shop,
        "CREATE OR REPLACE FUNCTION shop_clock() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT clock_timestamp() - interval '1 second' $$;"
        " ALTER TABLE orders DROP CONSTRAINT orders_check1; ALTER TABLE users DROP CONSTRAINT users_check",
    )
    run(shop, PLACE, id=1)
    run(shop, REGISTER, id=1_001)
    for table, key in (("orders", "order_id"), ("users", "user_id")):
        [(later,)] = run(
            shop, f"SELECT t.updated_at < x.updated_at FROM {table} x JOIN {table}_tombstones t USING ({key})"
        )
        assert later, table


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("TRUNCATE orders CASCADE", 'TRUNCATE of table "orders" is refused(.|\n)*Use DELETE FROM orders'),
        ("TRUNCATE users CASCADE", 'TRUNCATE of table "users" is refused'),
        ("UPDATE orders SET order_id = 2", 'primary key for a row of "orders" is refused'),
        ("UPDATE users SET user_id = user_id + 1000", 'primary key for a row of "users" is refused'),
    ],
)
def test_what_would_leave_no_tombstone_is_refused(shop: Any, statement: str, message: str) -> None:
    run(shop, "INSERT INTO orders SELECT 1, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match=message):
        run(shop, statement)


@pytest.mark.parametrize(("table", "key"), [("orders", "order_id"), ("users", "user_id")])
def test_a_page_is_read_from_an_index_and_not_sorted_out_of_the_table(
    producers_rig: Any, shop: Any, table: str, key: str
) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders SELECT n, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, t, t FROM"
            " generate_series(1, 20000) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 s' t) x;"
            " INSERT INTO users SELECT n, 'n', n || '@example.com', 'x', 'gold', true, t, t FROM"
            " generate_series(100, 20000) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 s' t) x"
        )
        cursor.execute(f"DELETE FROM {table} WHERE {key} = 0")
    run(shop, f"ANALYZE {table}")
    until = {"until_at": "infinity", "until_key": MAX_ID, "transaction": None}
    values = {"after_at": "1970-01-01", "after_key": MAX_ID, **until, "page_rows": 500}
    plan = "\n".join(row[0] for row in run(shop, "EXPLAIN " + changes_query(producers_rig.catalog[table]), **values))
    # Two pages are merged as they come from their indexes; an empty table of tombstones may be sorted.
    assert "Merge Append" in plan and f"Index Scan using {table}_updated on {table}" in plan, plan
    assert f"Sort Key: {table}.updated_at" in plan and f"Seq Scan on {table} " not in plan, plan


def test_a_restaurant_that_vanished_is_sent_once_as_deleted(provisioned: Any, shop: Any) -> None:
    store = FileWatermark(provisioned.settings.state_dir, "restaurants")

    def snapshot(hour: int) -> dict[int, dict[str, Any]]:
        at = NOON + timedelta(hours=hour)
        Snapshot(provisioned.connect(), provisioned.delivery("restaurants"), store).take(at)
        stamp = at.strftime("%Y-%m-%dT%H")
        found = [r for r in provisioned.records("restaurants") if r["snapshot_at"].startswith(stamp)]
        assert len({r["restaurant_id"] for r in found}) == len(found)
        return {record["restaurant_id"]: record for record in found}

    before = snapshot(0)
    run(shop, "DELETE FROM menu_items WHERE restaurant_id = 6 OR menu_item_id = 101")
    run(shop, "UPDATE restaurants SET deleted_at = now() WHERE restaurant_id = 5")
    run(shop, "DELETE FROM restaurants WHERE restaurant_id = 6")
    after = snapshot(1)
    assert after[6] == {**before[6], "snapshot_at": after[1]["snapshot_at"], "deleted_at": after[1]["snapshot_at"]}
    assert after[5]["deleted_at"] is not None
    assert [item["menu_item_id"] for item in after[1]["menu_items"]] == [102, 103, 104]
    assert set(snapshot(2)) == {1, 2, 3, 4, 5}


def test_a_snapshot_that_lost_too_much_is_refused_until_it_is_meant(provisioned: Any, shop: Any) -> None:
    producers_rig = provisioned
    assert producers_rig.run("restaurants", "--once")["domains"]["restaurants"]["produced"] == 6
    saved = (producers_rig.settings.state_dir / "restaurants.json").read_bytes()
    run(shop, "UPDATE restaurants SET deleted_at = now() WHERE restaurant_id > 2")
    process = producers_rig.command("restaurants", "--once")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "snapshot_refused The snapshot has 2 restaurants and 8 menu items, the last one had 6 and 24" in err
    assert "--accept-loss" in err

    # A live process refuses too, and is not due again before the next hour.
    store = FileWatermark(producers_rig.settings.state_dir, "restaurants")
    snapshot = Snapshot(producers_rig.connect(), producers_rig.delivery("restaurants"), store)
    with pytest.raises(SnapshotRefusedError):
        snapshot.take(NOON + timedelta(days=999))
    assert not snapshot.due(NOON + timedelta(days=999))
    assert snapshot.due(NOON + timedelta(days=999, hours=1))
    assert (producers_rig.settings.state_dir / "restaurants.json").read_bytes() == saved
    assert len(producers_rig.records("restaurants")) == 6

    assert producers_rig.run("restaurants", "--once", "--accept-loss")["domains"]["restaurants"]["produced"] == 6
    assert snapshot.take(NOON + timedelta(days=999, hours=1)).total == 6  # the live process has heard of it


def test_the_simulated_shop_deletes_as_people_do(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # One day with few orders and many deletes: chance leaves none of them out.
    rates = {"ORDERS": 10, "CLOSED_ACCOUNTS": 20, "TEST_ORDERS_REMOVED": 200, "RESTAURANTS_CLOSED": 20}
    for name, rate in {**rates, "MENU_ITEMS_REMOVED": 40}.items():
        monkeypatch.setattr(simulator_module, f"{name}_PER_DAY", float(rate))
    simulator = ShopSimulator(shop, WORLD, draw=random.Random(3))
    simulator.tick(NOON, DAY_SECONDS)
    expected = {"accounts_closed", "orders_removed", "restaurants_closed", "menu_items_removed"}
    assert expected <= {name for name, count in simulator.counts.items() if count}
    tables = ("users WHERE deleted_at IS NOT NULL", "orders_tombstones", "restaurants WHERE deleted_at IS NOT NULL")
    found = [run(shop, f"SELECT count(*) FROM {table}")[0][0] for table in tables]
    assert found == [simulator.counts[n] for n in ("accounts_closed", "orders_removed", "restaurants_closed")]
    assert run(shop, "SELECT count(*) FROM restaurants WHERE restaurant_id <= 2 AND deleted_at IS NULL") == [(2,)]
    assert run(shop, "SELECT count(*) FROM users_tombstones") == [(0,)]


def test_a_repeated_history_brings_no_deleted_order_back(provisioned: Any) -> None:
    producers_rig, end = provisioned, date(2026, 3, 12)
    plan = Plan.before(end, 1, 400, ["orders", "users"])
    replay(producers_rig.settings, producers_rig.catalog, WORLD, plan)
    shop = producers_rig.connect()
    [(victim,)] = run(shop, "DELETE FROM orders WHERE order_id = (SELECT min(order_id) FROM orders) RETURNING order_id")
    [(user,)] = run(
        shop,
        "DELETE FROM users WHERE user_id = (SELECT max(user_id) FROM users u WHERE user_id < 100"
        " AND NOT EXISTS (SELECT FROM orders o WHERE o.user_id = u.user_id)) RETURNING user_id",
    ) or [(None,)]
    replay(producers_rig.settings, producers_rig.catalog, WORLD, plan)
    assert run(shop, "SELECT count(*) FROM orders WHERE order_id = %(id)s", id=victim) == [(0,)]
    assert run(shop, "SELECT count(*) FROM order_items WHERE order_id = %(id)s", id=victim) == [(0,)]
    assert run(shop, "SELECT count(*) FROM users WHERE user_id = %(id)s", id=user) == [(0,)]
