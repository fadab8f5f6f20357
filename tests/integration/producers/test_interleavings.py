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

from producers.postgres.query import changes_query
from simulation.shop.seed import seed_shop
from simulation.world import World, WorldSize
from tests.rigs.producers.interleavings import KEYS, VERSIONS, RestartedReader, Seen, Writer, latest

INTERLEAVINGS = 1_000

# Two milliseconds is longer than a statement here, so versions of several transactions bear the same time. Rounded up:
# a version must never be older than the transaction's number.
COARSE_CLOCK = (
    "CREATE OR REPLACE FUNCTION shop_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
    " $$ SELECT date_bin('2 ms', clock_timestamp(), 'epoch') + interval '2 ms' $$"
)


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


def test_no_interleaving_of_a_thousand_loses_a_version(producers_rig: Any, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--fault-seed")
    draw = random.Random(seed)
    shop = producers_rig.connect()
    seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    shop.cursor().execute(COARSE_CLOCK)
    query = changes_query(producers_rig.catalog["orders"])
    ours, naive = RestartedReader(producers_rig.connect(), query, draw), Naive(producers_rig.connect())
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
