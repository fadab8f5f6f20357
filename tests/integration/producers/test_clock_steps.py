"""A database whose clock steps back and forward: no row is missed, and a poll that trusts the clock misses some.

The server is a real one and its clock is moved under it. `--fault-seed` replays a run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, Settings
from producers.postgres import fence
from producers.postgres.database import connect
from producers.postgres.fence import FencedReader, Position
from producers.postgres.query import changes_query
from simulation.shop.seed import past_transaction, seed_shop
from simulation.world import World, WorldSize
from tests.rigs.producers.interleavings import KEYS, RestartedReader, Writer, latest
from tests.rigs.producers.moved_clock import PostgresWithClock

DAY, YEAR = 86_400.0, 31_557_600.0
STEPS = (-0.05, -2.0, -30.0, -500.0, -7_200.0, -3 * DAY, 0.05, 60.0, DAY, 40 * YEAR)
CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
QUERY = changes_query(CATALOG["orders"])
PLACE = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11 FROM generate_series(%s, %s) n"
)


class TrustsTheClock(FencedReader):
    """A mutant: only times say what was sent."""

    def checkpoint(self) -> Position:
        self.position = replace(super().checkpoint(), numbers=None)
        return self.position


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresWithClock]:
    with PostgresWithClock(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def database(server: PostgresWithClock) -> Iterator[Any]:
    """Connections to a new shop on a server whose clock is right."""
    server.move(0)
    settings, connections = Settings(postgres_dsn=server.env()["POSTGRES_DSN"]), []

    def open_one() -> Any:
        connections.append(connect(settings, application="test"))
        return connections[-1]

    shop = open_one()
    shop.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    yield open_one
    for connection in connections:
        connection.close()


def missed(server: PostgresWithClock, database: Any, draw: random.Random, reader: type[FencedReader]) -> int:
    """Return how many rows were not sent in their latest version, over ends of random transactions."""
    shop, polled = database(), RestartedReader(database(), QUERY, draw, reader)
    writers, missing, offset = [Writer(database()) for _ in range(3)], 0, 0.0
    for _ in range(60):
        for number, writer in enumerate(writers):
            writer.keys = [key for key in KEYS if key % len(writers) == number]
        for _ in range(draw.randint(5, 12)):
            step, writer = draw.random(), draw.choice(writers)
            if step < 0.15:
                offset = max(offset + draw.choice(STEPS), -30 * DAY) if offset < 100 * YEAR else 0.0
                server.move(offset)
            elif step < 0.35:
                polled.poll()
            elif step < 0.55:
                writer.end(draw)
            else:
                writer.write(draw)
        for writer in writers:
            writer.end(draw)
        for _ in range(8):  # ten minutes, in which all rows are looked at once
            polled.poll()
        missing += sum(polled.seen.get(key) != at for key, at in latest(shop).items())
    return missing


def test_no_row_is_missed_however_the_clock_steps(
    server: PostgresWithClock, database: Any, request: pytest.FixtureRequest
) -> None:
    seed = request.config.getoption("--fault-seed")
    assert missed(server, database, random.Random(seed), FencedReader) == 0, f"--fault-seed {seed}"


def test_a_poll_that_trusts_the_clock_misses_rows(server: PostgresWithClock, database: Any) -> None:
    assert missed(server, database, random.Random(1), TrustsTheClock) > 0


def test_a_poll_that_looks_ten_minutes_back_and_no_further_misses_rows(
    server: PostgresWithClock, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretches = fence._stretches
    monkeypatch.setattr(fence, "_stretches", lambda before, ceiling, sweeps: stretches(before, ceiling, sweeps=False))
    assert missed(server, database, random.Random(1), FencedReader) > 0


def take(reader: FencedReader) -> list[int]:
    keys = [row.key for page in reader.poll() for row in page]
    reader.checkpoint()
    return keys


def test_a_step_is_noticed_and_what_was_sent_before_it_is_not_sent_again(
    server: PostgresWithClock, database: Any
) -> None:
    reader, shop = FencedReader(database(), QUERY, Position()), database().cursor()
    server.move(50 * YEAR)
    shop.execute(PLACE, (1, 20))
    assert len(take(reader)) == 20 and reader.stepped_back_seconds == 0
    server.move(0)
    shop.execute(PLACE, (21, 30))
    assert take(reader) == list(range(21, 31))
    assert reader.stepped_back_seconds == pytest.approx(50 * YEAR, abs=60)
    shop.execute(PLACE, (31, 31))
    assert take(reader) == [31] and reader.stepped_back_seconds == 0
    assert take(FencedReader(database(), QUERY, Position.from_json(reader.position.to_json()))) == []


def test_a_standby_that_took_over_is_read_again_for_a_day(server: PostgresWithClock, database: Any) -> None:
    reader, shop = FencedReader(database(), QUERY, Position()), database().cursor()
    server.move(-2 * DAY)
    shop.execute(PLACE, (1, 3))
    server.move(0)
    shop.execute(PLACE, (4, 6))
    assert len(take(reader)) == 6
    server.move(-7_200)
    shop.execute(PLACE, (7, 9))
    took_over = replace(reader.position, history="another timeline")
    assert sorted(take(FencedReader(database(), QUERY, took_over))) == [4, 5, 6, 7, 8, 9]


def test_rows_of_every_time_are_read_once(database: Any) -> None:
    reader, shop = FencedReader(database(), QUERY, Position()), database()
    take(reader)
    times = ["infinity", "-infinity", "294276-12-31", "12345-06-01", "0001-01-01", "0044-03-15 BC", "2020-01-01"]
    with past_transaction(shop) as cursor:  # a restore with the triggers off
        for key, at in enumerate(times):
            cursor.execute(
                "INSERT INTO orders VALUES (%s, 1, 1, 'x', 'placed', 'EUR', 'card', 1, 0, 0, 1, '-infinity', %s)",
                (key, at),
            )
    again = FencedReader(database(), QUERY, Position.from_json(reader.position.to_json()))
    assert sorted(take(again)) == list(range(len(times)))
    assert take(again) == []
    with past_transaction(shop) as cursor:
        cursor.execute("UPDATE orders SET updated_at = now() WHERE order_id = 0")
    assert take(again) == [0], "a row that comes back from infinity"
