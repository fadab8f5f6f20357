"""A thousand random interleavings of transactions: the fenced poll misses none of them, the naive one does.

Only the proof against a real Postgres belongs here; named cases are in `test_producers_cdc`. `--fault-seed` replays a
run: the same seed makes the same transactions, commits, rollbacks, polls, restarts and crashes in the same order.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from producers.postgres.fence import FencedReader, Position
from producers.postgres.query import changes_query
from simulation.shop.seed import seed_shop
from simulation.world import World, WorldSize

INTERLEAVINGS = 1_000
KEYS = range(1, 13)
PAGE_ROWS = (1, 2, 3, 5_000)

# Two milliseconds is longer than a statement here, so versions of several transactions bear the same time. Rounded up:
# a version must never be older than the transaction's number.
COARSE_CLOCK = (
    "CREATE OR REPLACE FUNCTION shop_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
    " $$ SELECT date_bin('2 ms', clock_timestamp(), 'epoch') + interval '2 ms' $$"
)
VERSIONS = "SELECT order_id, updated_at FROM orders UNION ALL SELECT order_id, updated_at FROM orders_tombstones"
INSERT = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11 FROM unnest(%s::bigint[]) n ON CONFLICT DO NOTHING"
)

Seen = dict[int, datetime]


class Ours:
    """The fenced poll, restarted and stopped halfway as a process is."""

    def __init__(self, connection: Connection, query: str, draw: random.Random) -> None:
        self._connection = connection
        self._query = query
        self._draw = draw
        self._reader = self._restarted(Position())
        self.seen: Seen = {}

    def poll(self) -> int:
        sent, stops_after = 0, self._draw.choice([1, 2, 10_000, 10_000, 10_000, 10_000])
        for number, page in enumerate(self._reader.poll(), start=1):
            for row in page:
                self.seen[row.key] = max(row.updated_at, self.seen.get(row.key, row.updated_at))
            sent += len(page)
            if number == stops_after:
                self._reader = self._restarted(self._reader.checkpoint())
                return sent
        position = self._reader.confirm()
        if self._draw.random() < 0.2:
            self._reader = self._restarted(position)
        return sent

    def is_waiting(self) -> bool:
        return bool(self._reader.position.polls)

    def _restarted(self, saved: Position) -> FencedReader:
        position = Position.from_json(saved.to_json())
        return FencedReader(self._connection, self._query, position, page_rows=self._draw.choice(PAGE_ROWS))


class Naive:
    """`updated_at > watermark`, the watermark being the latest time seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watermark = datetime(1970, 1, 1, tzinfo=UTC)
        self.seen: Seen = {}

    def poll(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"SELECT * FROM ({VERSIONS}) v WHERE updated_at > %s ORDER BY updated_at", (self._watermark,)
            )
            for key, updated_at in cursor.fetchall():
                self.seen[key] = self._watermark = updated_at


class Writer:
    """One connection with at most one open transaction, over keys that nobody else writes meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor()
        self.is_open = False
        self.keys: list[int] = []

    def write(self, draw: random.Random) -> None:
        if not self.is_open:
            self._cursor.execute("BEGIN")
            self.is_open = True
            if draw.random() < 0.2:
                return  # its now() stands still from here on, and it has no number yet
        keys = draw.sample(self.keys, draw.randint(1, len(self.keys)))
        statement = draw.choice(
            [
                INSERT,
                "UPDATE orders SET city = 'y' WHERE order_id = ANY(%s)",
                "UPDATE orders SET deleted_at = now() WHERE order_id = ANY(%s)",
                "DELETE FROM orders WHERE order_id = ANY(%s)",
            ]
        )
        self._cursor.execute(statement, (keys,))

    def end(self, draw: random.Random) -> None:
        if self.is_open:
            self._cursor.execute(draw.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
            self.is_open = False


def latest(connection: Connection) -> Seen:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT order_id, max(updated_at) FROM ({VERSIONS}) v GROUP BY 1")
        return dict(cursor.fetchall())


def test_no_interleaving_of_a_thousand_loses_a_version(producers_rig: Any, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--fault-seed")
    draw = random.Random(seed)
    shop = producers_rig.connect()
    seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    shop.cursor().execute(COARSE_CLOCK)
    query = changes_query(producers_rig.catalog["orders"])
    ours, naive = Ours(producers_rig.connect(), query, draw), Naive(producers_rig.connect())
    pool = [Writer(producers_rig.connect()) for _ in range(4)]
    missed_by_naive = 0
    for number in range(INTERLEAVINGS):
        writers = pool[: draw.randint(2, 4)]
        shift = draw.randrange(12)  # a key that one deletes now, another may insert again later
        for place, writer in enumerate(writers):
            writer.keys = [key for key in KEYS if (key + shift) % len(writers) == place]
        for _ in range(draw.randint(5, 12)):
            step, writer = draw.random(), draw.choice(writers)
            if step < 0.25:
                ours.poll()
                naive.poll()
            elif step < 0.5:
                writer.end(draw)
            else:
                writer.write(draw)
        for writer in draw.sample(writers, len(writers)):
            writer.end(draw)
        while ours.poll() or ours.is_waiting():
            pass
        naive.poll()
        truth = latest(shop)
        missing = {key: at for key, at in truth.items() if ours.seen.get(key) != at}
        assert not missing, f"interleaving {number} of --fault-seed {seed} missed {missing}"
        missed_by_naive += sum(naive.seen.get(key) != at for key, at in truth.items())
    print(f"--fault-seed {seed}: the naive poll was behind on {missed_by_naive} rows, summed over {number + 1} ends")
    assert missed_by_naive > 0
