"""Change capture against transactions that commit late, in any order, and against crashes."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from platform_core.errors import TransientError
from platform_kafka.topics import dlq_name
from producers.postgres.fence import FencedReader, Position
from producers.postgres.poller import TablePoller
from producers.watermark import FileWatermark
from simulation.history.virtual import MemoryWatermark, VirtualClock
from simulation.shop.seed import past_transaction, seed_shop
from simulation.world import World, WorldSize

NAIVE = "SELECT order_id, updated_at FROM orders WHERE updated_at > %s ORDER BY updated_at"


@pytest.fixture
def shop(producers_rig: Any) -> Any:
    connection = producers_rig.connect()
    seed_shop(connection, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    return connection


def place(connection: Connection, count: int, first: int = 1) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal,"
            " delivery_fee,"
            " discount, total) SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11 FROM generate_series(%s, %s) n",
            (first, count),
        )


def versions(connection: Connection) -> dict[int, datetime]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT order_id, updated_at FROM orders")
        return dict(cursor.fetchall())


def take(reader: FencedReader, seen: dict[int, datetime]) -> int:
    rows = [row for page in reader.poll() for row in page]
    for row in rows:
        seen[row.key] = max(row.updated_at.time, seen.get(row.key, row.updated_at.time))
    reader.checkpoint()
    return len(rows)


def test_a_late_commit_is_missed_by_the_naive_poll_only(producers_rig: Any, shop: Connection) -> None:
    place(shop, 2)
    slow, naive = producers_rig.connect(), producers_rig.connect()
    reader = producers_rig.reader("orders", Position())
    seen: dict[int, datetime] = {}
    naive_seen: dict[int, datetime] = {}
    watermark = datetime(1970, 1, 1, tzinfo=UTC)

    def poll() -> None:
        nonlocal watermark
        take(reader, seen)
        with naive.cursor() as cursor:
            cursor.execute(NAIVE, (watermark,))
            for order_id, updated_at in cursor.fetchall():
                naive_seen[order_id] = updated_at
                watermark = updated_at

    poll()
    slow.cursor().execute("BEGIN; UPDATE orders SET city = 'late' WHERE order_id = 1")
    shop.cursor().execute("UPDATE orders SET city = 'soon' WHERE order_id = 2")
    poll()
    slow.cursor().execute("COMMIT")
    poll()
    assert seen == versions(shop)
    assert naive_seen != versions(shop)


@pytest.mark.parametrize("statement", ["UPDATE orders SET city = 'y' WHERE order_id = 1", "INSERT"])
def test_the_transaction_has_its_number_before_the_clock_is_read(
    producers_rig: Any, shop: Connection, statement: str
) -> None:
    place(shop, 1)
    shop.cursor().execute(
        "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END';"
        " CREATE TRIGGER zz_nap BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION nap()"
    )
    if statement == "INSERT":
        statement = (
            "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal,"
            " delivery_fee,"
            " discount, total) VALUES (2, 1, 1, 'x', 'card', 10, 1, 0, 11)"
        )
    writer = threading.Thread(target=producers_rig.connect().cursor().execute, args=(statement,))
    reader = producers_rig.reader("orders", Position())
    seen: dict[int, datetime] = {}
    writer.start()
    time.sleep(0.5)  # the row has its time, and sleeps before it is written
    take(reader, seen)
    take(reader, seen)
    writer.join()
    take(reader, seen)
    assert seen == versions(shop)


def test_a_row_inserted_long_after_its_transaction_began(producers_rig: Any, shop: Connection) -> None:
    slow = producers_rig.connect()
    slow.cursor().execute("BEGIN; SELECT now()")
    reader = producers_rig.reader("orders", Position())
    seen: dict[int, datetime] = {}
    take(reader, seen)
    place(slow, 1)
    slow.cursor().execute("COMMIT")
    take(reader, seen)
    assert seen == versions(shop) != {}


def test_an_idle_window_is_not_read_again(producers_rig: Any, shop: Connection) -> None:
    place(shop, 5)
    reader = producers_rig.reader("orders", Position())
    assert [take(reader, {}) for _ in range(3)] == [5, 0, 0]
    assert reader.reread == 0
    assert not reader.position.sent and not reader.position.polls


def test_an_open_transaction_holds_the_window_and_nothing_is_sent_twice(producers_rig: Any, shop: Connection) -> None:
    place(shop, 1)
    slow = producers_rig.connect()
    slow.cursor().execute("BEGIN; UPDATE orders SET city = 'late' WHERE order_id = 1")
    place(shop, 5, first=2)
    reader = producers_rig.reader("orders", Position())
    assert [take(reader, {}) for _ in range(3)] == [5, 0, 0]
    assert reader.reread == 8, "what was written before the open transaction is not read again"
    again = producers_rig.reader(
        "orders",
        Position.from_json(reader.position.to_json()),
    )
    assert take(again, {}) == 0
    slow.cursor().execute("COMMIT")
    assert take(again, {}) == 1


def test_equal_times_cross_page_borders(producers_rig: Any, shop: Connection) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal,"
            " delivery_fee,"
            " discount, total, created_at, updated_at)"
            " SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11, '2026-03-01', '2026-03-01'"
            " FROM generate_series(1, 250) n"
        )
    reader = producers_rig.reader("orders", Position(), page_rows=100)
    pages = [[row.key for row in page] for page in reader.poll()]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert sorted(key for page in pages for key in page) == list(range(1, 251))


def test_a_changed_line_is_a_changed_order(producers_rig: Any, shop: Connection) -> None:
    place(shop, 2)
    shop.cursor().execute("INSERT INTO order_items VALUES (1, 1, 101, 'soup', 1, 10)")
    reader = producers_rig.reader("orders", Position())
    assert take(reader, {}) == 2
    for statement in (
        "UPDATE order_items SET quantity = 2 WHERE order_id = 1",
        "UPDATE order_items SET order_id = 2",
        "DELETE FROM order_items",
    ):
        shop.cursor().execute(statement)
        assert take(reader, {}) == (2 if "SET order_id" in statement else 1), statement


def test_updated_at_grows_even_within_a_transaction_and_cannot_be_set(shop: Connection) -> None:
    place(shop, 1)
    times = [versions(shop)[1]]
    with shop.cursor() as cursor:
        cursor.execute("BEGIN")
        for _ in range(3):
            cursor.execute("UPDATE orders SET updated_at = '2030-01-01' WHERE order_id = 1 RETURNING updated_at")
            times.append(cursor.fetchone()[0])  # type: ignore[index]
        cursor.execute("COMMIT")
    assert times == sorted(set(times))
    assert times[-1] < datetime.now(UTC) + timedelta(minutes=5)


def test_virtual_time_sees_no_future(producers_rig: Any, shop: Connection) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal,"
            " delivery_fee,"
            " discount, total, created_at, updated_at) SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11, t, t"
            " FROM generate_series(1, 4) n, "
            "LATERAL (SELECT timestamptz '2026-03-01 00:00Z' + n * interval '1 hour' t) x"
        )
    clock = VirtualClock(datetime(2026, 3, 1, 2, 30, tzinfo=UTC))
    reader = producers_rig.reader("orders", Position(), clock=clock)
    assert take(reader, {}) == 2
    clock.now += timedelta(hours=9)
    assert take(reader, {}) == 2


def test_the_watermark_waits_for_the_reports(provisioned: Any, shop: Connection) -> None:
    place(shop, 3)
    watermark = FileWatermark(provisioned.settings.state_dir, "orders")
    delivery = provisioned.delivery("orders")
    poller = TablePoller(provisioned.connect(), delivery, watermark)
    saved_before_reports = []
    deliver = delivery.deliver

    def failing() -> Any:
        deliver()
        saved_before_reports.append(watermark.load())
        raise TransientError("the cluster went away")

    delivery.deliver = failing  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        poller.poll()
    assert saved_before_reports == [None]
    assert watermark.load() is None

    # A process killed here starts again from the file: it resends and loses nothing.
    delivery.deliver = deliver  # type: ignore[method-assign]
    again = TablePoller(provisioned.connect(), delivery, watermark)
    assert again.poll().total == 3
    assert watermark.load() is not None
    assert sorted(record["order_id"] for record in provisioned.records("orders")) == [1, 1, 2, 2, 3, 3]
    assert TablePoller(provisioned.connect(), delivery, watermark).poll().total == 0


def test_a_row_that_cannot_be_a_record_is_one_dead_letter(provisioned: Any, shop: Connection) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute("ALTER TABLE orders DROP CONSTRAINT orders_amounts")
        cursor.execute(
            "INSERT INTO orders SELECT n, 1, 2, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, '2026-03-01', '2026-03-01'"
            " FROM generate_series(1, 7) n;"
            " UPDATE orders SET city = repeat('x', 6000000) WHERE order_id = 1;"
            " UPDATE orders SET updated_at = '12345-06-01' WHERE order_id = 2;"
            " UPDATE orders SET deleted_at = 'infinity' WHERE order_id = 3;"
            " UPDATE orders SET delivered_at = '0044-03-15 BC' WHERE order_id = 4;"
            " UPDATE orders SET subtotal = 'NaN', total = 'NaN' WHERE order_id = 5"
        )
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark())
    receipts = [poller.poll() for _ in range(3)]
    assert [(receipt.total, receipt.refused) for receipt in receipts] == [(2, 5), (0, 0), (0, 0)]
    domain = provisioned.catalog["orders"]
    letters = {(message.key() or b"").decode(): message for message in provisioned.messages(dlq_name(domain))}
    errors = {key: dict(message.headers() or ())["dlq.error"].decode() for key, message in letters.items()}
    assert errors["1"].startswith("The record has 6,000,") and letters["1"].value() is None
    assert [errors[key].split(":")[0] for key in "2345"] == [
        "`updated_at`",
        "`deleted_at`",
        "`delivered_at`",
        "`subtotal`",
    ]
    assert sorted(record["order_id"] for record in provisioned.records("orders")) == [6, 7]


def test_the_record_is_the_row(provisioned: Any, shop: Connection) -> None:
    with past_transaction(shop) as cursor:
        cursor.execute(
            "INSERT INTO orders VALUES (9007199254740993, 1, 2, 'Graz', 'delivered', 'EUR', 'cash', 1234567890.10,"
            " 0.05, 0.10, 1234567890.05, '2026-03-01 10:00:00Z', '2026-03-01 10:30:00.000001Z',"
            " '2026-03-01 10:30Z', NULL, NULL);"
            " INSERT INTO order_items VALUES (9007199254740993, 2, 102, 'ü \"b\"', 1, 0.10),"
            " (9007199254740993, 1, 101, 'a', 3, 411522630.00)"
        )
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark())
    assert poller.poll().delivered == {"2026-03-01": 1}
    (message,) = provisioned.messages(provisioned.catalog["orders"].topic.name)
    assert message.key() == b"9007199254740993"
    (record,) = provisioned.records("orders")
    assert list(record) == list(provisioned.catalog["orders"].contract.by_name)
    assert record == {
        "order_id": 9007199254740993,
        "user_id": 1,
        "restaurant_id": 2,
        "city": "Graz",
        "status": "delivered",
        "currency": "EUR",
        "payment_method": "cash",
        "subtotal": "1234567890.10",
        "delivery_fee": "0.05",
        "discount": "0.10",
        "total": "1234567890.05",
        "items": [
            {"menu_item_id": 101, "name": "a", "quantity": 3, "unit_price": "411522630.00"},
            {"menu_item_id": 102, "name": 'ü "b"', "quantity": 1, "unit_price": "0.10"},
        ],
        "created_at": "2026-03-01T10:00:00.000000Z",
        "updated_at": "2026-03-01T10:30:00.000001Z",
        "delivered_at": "2026-03-01T10:30:00.000000Z",
        "cancelled_at": None,
        "deleted_at": None,
    }
