"""The case `cdc`: how change capture drains a backlog of orders into Kafka, beside a COPY of the same rows as JSON.

Postgres, Kafka and the registry are real; the orders are made by the server with the triggers off, two lines each, and
sent by the real `TablePoller`. Kafka's CPU is not counted, since COPY sends nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from psycopg2.extensions import connection as Connection

from benchmarks.frame import Case, Contestant
from benchmarks.usage import Usage, of_call
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.postgres import Postgres
from infra.embedded.services.schema_registry import SchemaRegistry
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, Settings
from platform_kafka.provision import provision
from producers.delivery import Delivery
from producers.postgres.database import connect
from producers.postgres.poller import TablePoller
from producers.watermark import FileWatermark
from simulation.shop.seed import past_transaction, seed_shop
from simulation.world import World, WorldSize

ORDERS_MADE = 1_000_000
ORDERS = """
INSERT INTO orders (order_id, user_id, restaurant_id, city, status, payment_method, subtotal, delivery_fee, discount,
  total, created_at, updated_at, delivered_at)
SELECT n, n %% 500 + 1, n %% 20 + 1, 'Springfield', 'delivered', 'card', 20, 1.99, 0, 21.99, t,
  t + interval '40 minutes',
  t + interval '40 minutes'
FROM generate_series(1, %(orders)s) n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '3 seconds' t) x
"""
LINES = """
INSERT INTO order_items SELECT n, line, (n %% 20 + 1) * 100 + line, 'a dish with a name ' || line, 1, 10
FROM generate_series(1, %(orders)s) n, generate_series(1, 2) line
"""
COPY = """
COPY (SELECT row_to_json(o), (SELECT json_agg(json_build_object('menu_item_id', i.menu_item_id, 'name', i.name,
  'quantity', i.quantity, 'unit_price', i.unit_price::text) ORDER BY i.line_no)
  FROM order_items i WHERE i.order_id = o.order_id) FROM orders o ORDER BY o.updated_at, o.order_id) TO STDOUT
"""


class _Counted(io.RawIOBase):
    """Takes text and counts its lines."""

    lines = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.lines += data.count(b"\n")
        return len(data)


@contextmanager
def prepared(folder: Path, orders: int | None) -> Iterator[Case]:
    """Start the services, make the orders, and offer the contestants.

    Args:
        folder: Gets the services' files.
        orders: How many wait to be sent.
    """
    orders = orders or ORDERS_MADE
    with (
        Kafka(folder / "kafka") as kafka,
        SchemaRegistry(folder / "registry") as registry,
        Postgres(folder / "pg") as postgres,
    ):
        env = {**kafka.env(), **registry.env(), **postgres.env()}
        config = Settings(**{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
        catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
        provision(config, catalog)
        connection = connect(config, application="benchmark")
        _make_orders(connection, orders)
        delivery = Delivery.connect(config, catalog["orders"])
        services = [postgres.pid] if postgres.pid is not None else []
        yield Case(
            name="cdc",
            title="A backlog of orders from Postgres",
            size=f"{orders:,} orders with 2 lines each",
            contestants=[
                Contestant("COPY as JSON", partial(_copy, connection, orders, services)),
                Contestant("change capture", partial(_capture, connection, delivery, orders, services)),
            ],
            units=orders,
            unit="orders",
        )


def _make_orders(connection: Connection, orders: int) -> None:
    seed_shop(connection, World(7, WorldSize(users=500, restaurants=20, menu_items=5, cities=4)))
    with past_transaction(connection) as cursor:
        cursor.execute(ORDERS, {"orders": orders})
        cursor.execute(LINES, {"orders": orders})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _copy(connection: Connection, orders: int, services: list[int], folder: Path) -> Usage:
    rows = _Counted()
    with connection.cursor() as cursor:
        usage = of_call(lambda: cursor.copy_expert(COPY, rows), services)
    _refuse_other_count(rows.lines, orders)
    return usage


def _capture(connection: Connection, delivery: Delivery, orders: int, services: list[int], folder: Path) -> Usage:
    """Send everything, from a watermark that nobody has yet; the poll after it must have nothing to send."""
    poller = TablePoller(connection, delivery, FileWatermark(folder, "orders"))
    sent: list[int] = []
    usage = of_call(lambda: sent.append(poller.poll().total), services)
    _refuse_other_count(sent[0], orders)
    _refuse_other_count(poller.poll().total, 0)
    return usage


def _refuse_other_count(rows: int, expected: int) -> None:
    if rows != expected:
        raise ValueError(f"{rows} orders came instead of {expected}")
