"""A long backlog: bounded memory, and a process that is killed in the middle goes on from its last checkpoint."""

from __future__ import annotations

import itertools
import signal
import time
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection

from producers.postgres.fence import MAX_REMEMBERED_ROWS, Position
from producers.postgres.poller import CHECKPOINT_ROWS, TablePoller
from producers.watermark import FileWatermark
from simulation.history.virtual import MemoryWatermark
from simulation.shop.seed import past_transaction, seed_shop
from simulation.world import World, WorldSize

ORDERS = 60_000
MEGABYTE = 1_048_576


def fill(connection: Connection, time_of_n: str, orders: int = ORDERS) -> None:
    seed_shop(connection, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    with past_transaction(connection) as cursor:
        cursor.execute(
            "INSERT INTO orders SELECT n, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, t, t FROM"
            f" generate_series(1, {orders}) n, LATERAL (SELECT {time_of_n} t) x"
        )


def test_a_killed_backlog_goes_on_from_its_checkpoint(provisioned: Any) -> None:
    producers_rig = provisioned
    # Whole pages bear one time, as after a statement that touched them all: only the key tells how far it came.
    fill(producers_rig.connect(), "timestamptz '2026-03-01' + (n / 25000) * interval '1 minute'")
    watermark = FileWatermark(producers_rig.settings.state_dir, "orders")
    process = producers_rig.command("orders", "--once")
    deadline = time.monotonic() + 60
    while watermark.load() is None and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    position = Position.from_json(watermark.load())
    assert process.returncode == -signal.SIGKILL
    assert position.low.time < datetime(2026, 3, 2, tzinfo=UTC), "killed too late: the backlog was sent already"
    assert position.low_key < 2**62

    sent = producers_rig.run("orders", "--once")["domains"]["orders"]["produced"]
    assert sent <= ORDERS - CHECKPOINT_ROWS
    copies = Counter(record["order_id"] for record in producers_rig.records("orders"))
    assert set(copies) == set(range(1, ORDERS + 1))
    assert max(copies.values()) <= 2
    assert copies.total() - ORDERS <= CHECKPOINT_ROWS
    assert producers_rig.run("orders", "--once")["domains"]["orders"]["produced"] == 0


def test_memory_does_not_follow_the_backlog(producers_rig: Any) -> None:
    shop, slow = producers_rig.connect(), producers_rig.connect()
    fill(shop, "timestamptz '2026-03-01' + n * interval '1 second'")
    # An open transaction keeps all of it in the window, where each row that was sent is remembered.
    with slow.cursor() as cursor:
        cursor.execute("BEGIN; SELECT pg_current_xact_id()")
    reader = producers_rig.reader("orders", Position(), page_rows=500)
    tracemalloc.start()
    try:
        rows = sum(len(page) for page in reader.poll())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == ORDERS
    assert len(reader.checkpoint().sent) == MAX_REMEMBERED_ROWS
    # 60,000 documents of 450 bytes are 27 MB by themselves.
    assert peak < 12 * MEGABYTE, f"{peak / MEGABYTE:.1f} MB"


def test_progress_is_told_every_few_seconds(provisioned: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "producers")
    connection = provisioned.connect()
    fill(connection, "now() - interval '1 hour'", 1_000)
    poller = TablePoller(connection, provisioned.delivery("orders"), MemoryWatermark(), page_rows=100)
    ticks = itertools.count()
    poller._seconds = lambda: float(next(ticks))  # a page a second
    assert poller.poll().total == 1_000
    assert poller.rows_sent == 1_000
    lines = [record.getMessage() for record in caplog.records if "backlog_progress" in record.getMessage()]
    assert [line.split()[2:4] for line in lines] == [
        ["sent=500", "rows_per_second=100"],
        ["sent=1000", "rows_per_second=100"],
    ]
    behind = float(lines[0].rpartition("=")[2])
    assert timedelta(minutes=60) <= timedelta(seconds=behind) < timedelta(minutes=65)
