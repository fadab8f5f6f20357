"""How fast, and in how much memory, the change capture drains a backlog of orders into Kafka.

`python -m benchmarks.orders_backlog --orders 1000000`. Postgres, Kafka and the registry are real and in a temporary
folder; the orders are made by the server with the triggers off, two lines each, and sent by the real `TablePoller`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from psycopg2.extensions import connection as Connection

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


def fill(connection: Connection, orders: int) -> float:
    """Make the orders and return the seconds that it took."""
    started = time.monotonic()
    seed_shop(connection, World(7, WorldSize(users=500, restaurants=20, menu_items=5, cities=4)))
    with past_transaction(connection) as cursor:
        cursor.execute(ORDERS, {"orders": orders})
        cursor.execute(LINES, {"orders": orders})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return time.monotonic() - started


def resident_megabytes(field: str) -> float:
    """Return a line of this process's status, `VmRSS` for now and `VmHWM` for the peak, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Print rows a second and the peak of resident memory."""
    parser = argparse.ArgumentParser(prog="orders_backlog", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="pdp-bench-") as folder:
        root = Path(folder)
        with Kafka(root / "kafka") as kafka, SchemaRegistry(root / "registry") as registry, Postgres(root / "pg") as pg:
            env = {**kafka.env(), **registry.env(), **pg.env(), "STATE_DIR": str(root / "state")}
            config = Settings(**{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
            catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
            provision(config, catalog)
            connection = connect(config, application="bench")
            print(f"{arguments.orders:,} orders with 2 lines each, made in {fill(connection, arguments.orders):.0f} s")
            delivery = Delivery.connect(config, catalog["orders"])
            poller = TablePoller(connection, delivery, FileWatermark(config.state_dir, "orders"))
            before = resident_megabytes("VmRSS")
            started, cpu = time.monotonic(), time.process_time()
            sent = poller.poll().total
            seconds = time.monotonic() - started
            print(f"sent {sent:,} in {seconds:.1f} s: {sent / seconds:,.0f} rows/s, on {os.cpu_count()} cores")
            print(f"client CPU {time.process_time() - cpu:.1f} s")
            print(f"resident {before:.0f} MB before, {resident_megabytes('VmHWM'):.0f} MB at the peak")
            started = time.monotonic()
            again = poller.poll().total
            print(f"the next poll sent {again} in {(time.monotonic() - started) * 1000:.1f} ms")
    return int(sent != arguments.orders or again != 0)


if __name__ == "__main__":
    sys.exit(main())
