"""Transactions of several writers and a poll that is restarted and stopped halfway, as a process is."""

from __future__ import annotations

import random
from datetime import datetime

from psycopg2.extensions import connection as Connection

from producers.postgres.fence import FencedReader, Position

KEYS = range(1, 13)
PAGE_ROWS = (1, 2, 3, 5_000)
VERSIONS = "SELECT order_id, updated_at FROM orders UNION ALL SELECT order_id, updated_at FROM orders_tombstones"
INSERT = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) SELECT n, 1, 1, 'x', 'card', 10, 1, 0, 11 FROM unnest(%s::bigint[]) n ON CONFLICT DO NOTHING"
)

Seen = dict[int, datetime]


class RestartedReader:
    """The fenced poll, restarted and stopped halfway as a process is.

    Attributes:
        seen: The latest version of each row that was sent.
    """

    def __init__(
        self, connection: Connection, query: str, draw: random.Random, reader: type[FencedReader] = FencedReader
    ) -> None:
        self._make = reader
        self._minutes = 0.0
        self._connection = connection
        self._query = query
        self._draw = draw
        self._reader = self._restarted(Position())
        self.seen: Seen = {}

    def poll(self) -> int:
        self._minutes += self._draw.random() * 4
        sent, stops_after = 0, self._draw.choice([1, 2, 10_000, 10_000, 10_000, 10_000])
        for number, page in enumerate(self._reader.poll(), start=1):
            for row in page:
                self.seen[row.key] = max(row.updated_at.time, self.seen.get(row.key, row.updated_at.time))
            sent += len(page)
            if number == stops_after:
                self._reader = self._restarted(self._reader.checkpoint())
                return sent
        position = self._reader.checkpoint()
        if self._draw.random() < 0.2:
            self._reader = self._restarted(position)
        return sent

    def is_waiting(self) -> bool:
        return bool(self._reader.position.polls)

    def _restarted(self, saved: Position) -> FencedReader:
        position = Position.from_json(saved.to_json())
        return self._make(
            self._connection,
            self._query,
            position,
            page_rows=self._draw.choice(PAGE_ROWS),
            seconds=lambda: self._minutes * 60,
        )


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
