"""The stage Postgres → Kafka: whatever breaks, the latest record of each order is the order as Postgres has it."""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from infra.embedded.services.postgres import Postgres
from infra.embedded.services.schema_registry import SchemaRegistry
from platform_core.settings import REPOSITORY
from platform_kafka.provision import provision
from producers.postgres.fence import Position
from simulation.shop.seed import seed_shop
from simulation.world import World, WorldSize
from tests.rigs.faults.revived import revived
from tests.rigs.logged_process import LoggedProcess
from tests.rigs.producers.rig import ProducersRig, producers_rig_on

CDC_PROCESS = str(REPOSITORY / "tests" / "rigs" / "faults" / "cdc_process.py")
PLACE = (
    "INSERT INTO orders (user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount, total)"
    " SELECT 1, 1, 'x', 'card', 10, 1, 0, 11 FROM generate_series(1, %s)"
)
CHANGES = (
    "UPDATE orders SET city = md5(random()::text) WHERE order_id = %s",
    "UPDATE orders SET city = md5(random()::text) WHERE order_id = %s",
    "UPDATE orders SET deleted_at = now() WHERE order_id = %s",
    "DELETE FROM orders WHERE order_id = %s",
)


@pytest.fixture(scope="module")
def postgres_of_the_module(toolchain, tmp_path_factory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("mortal_postgres"), toolchain=toolchain, durable=True) as service:
        yield service


@pytest.fixture(scope="module")
def registry_of_the_module(toolchain, tmp_path_factory) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(tmp_path_factory.mktemp("mortal_registry"), toolchain=toolchain, durable=True) as service:
        yield service


@pytest.fixture
def mortal_postgres(postgres_of_the_module) -> Postgres:
    return revived(postgres_of_the_module)


@pytest.fixture
def mortal_registry(registry_of_the_module) -> SchemaRegistry:
    return revived(registry_of_the_module)


class Shop:
    """Orders that change under open transactions, the producer beside them, and the judgement."""

    def __init__(self, fault_rig: ProducersRig, folder: Path, seed: int) -> None:
        self.fault_rig, self.folder, self.draw = fault_rig, folder, random.Random(seed)
        connection = fault_rig.connect()
        seed_shop(connection, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
        provision(fault_rig.settings, fault_rig.catalog)
        with connection.cursor() as cursor:
            cursor.execute(PLACE, (60,))
        self.processes: list[LoggedProcess] = []

    def start(self, mutant: str = "") -> LoggedProcess:
        env = {**self.fault_rig.env, "PYTHONPATH": str(REPOSITORY), "CDC_POLL_INTERVAL_SECONDS": "0.2"}
        log = self.folder / f"cdc-{len(self.processes)}.log"
        process = LoggedProcess.begin([sys.executable, CDC_PROCESS, mutant, "orders"], env, log)
        self.processes.append(process)
        return process

    @contextmanager
    def life(self) -> Iterator[list[int]]:
        """Four people change orders, some in transactions that stay open; yields how many they committed."""
        stop, committed = threading.Event(), [0]

        def live(draw: random.Random) -> None:
            connection = None
            while not stop.is_set():
                try:
                    if connection is None or connection.closed:
                        connection = psycopg2.connect(self.fault_rig.env["POSTGRES_DSN"], connect_timeout=30)
                    with connection, connection.cursor() as cursor:
                        for _ in range(draw.randint(1, 3)):
                            cursor.execute(
                                draw.choice(CHANGES[: 4 if draw.random() < 0.2 else 2]), (draw.randint(1, 60),)
                            )
                        cursor.execute(PLACE, (draw.randint(0, 1),))
                        stop.wait(draw.choice((0, 0, 0.05, 0.3, 0.8)))
                        if draw.random() < 0.1:
                            connection.rollback()
                    committed[0] += 1
                except psycopg2.errors.DeadlockDetected:
                    pass
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    connection = None
                    stop.wait(0.2)
            if connection is not None:
                connection.close()

        threads = [threading.Thread(target=live, args=(random.Random(self.draw.random()),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield committed
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def wait(self, condition, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(p.log.read_text()[-3000:] for p in self.processes)
            time.sleep(0.2)  # each look reads the whole topic

    def produced(self, count: int) -> None:
        """Wait until so many more records are in the topic."""
        before = len(self.fault_rig.records("orders"))
        self.wait(lambda: len(self.fault_rig.records("orders")) >= before + count)

    def missed(self) -> list[str]:
        """What the topic says wrongly of an order."""
        with psycopg2.connect(self.fault_rig.env["POSTGRES_DSN"]) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT order_id, city, deleted_at IS NOT NULL FROM orders")
            shop = {row[0]: row[1:] for row in cursor.fetchall()}
        connection.close()
        known: dict[int, dict] = {}
        for record in self.fault_rig.records("orders"):
            latest = known.get(record["order_id"])
            if latest is None or record["updated_at"] > latest["updated_at"]:
                known[record["order_id"]] = record
        wrong = [
            f"order {key}: Postgres {row}, Kafka {known.get(key, {}).get('city')}"
            for key, row in shop.items()
            if key not in known or (known[key]["city"], known[key]["deleted_at"] is not None) != row
        ]
        gone = [f"order {key} was deleted" for key, r in known.items() if key not in shop and not r["deleted_at"]]
        return wrong + gone

    def settle(self) -> list[str]:
        """Return what is wrong for good: the next poll reads all that was committed, and sends it before the one after.

        Two new orders, one after the other, tell that both polls have been.
        """
        for _ in range(2):
            with psycopg2.connect(self.fault_rig.env["POSTGRES_DSN"]) as connection, connection.cursor() as cursor:
                cursor.execute(f"{PLACE} RETURNING order_id", (1,))
                (marker,) = cursor.fetchone()
            connection.close()
            self.wait(lambda marker=marker: marker in {r["order_id"] for r in self.fault_rig.records("orders")})
        return self.missed()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def shop(mortal_kafka, mortal_registry, mortal_postgres, tmp_path, seed) -> Iterator[Shop]:
    with producers_rig_on(mortal_kafka, mortal_registry, mortal_postgres, tmp_path) as fault_rig:
        shop = Shop(fault_rig, tmp_path, seed)
        yield shop
        shop.end()


def test_kill_9_and_sigterm_at_any_moment(shop):
    with shop.life() as committed:
        for number in range(6):
            process = shop.start()
            shop.produced(10)
            time.sleep(shop.draw.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGKILL)
    shop.start()
    assert committed[0] > 20 and shop.settle() == []


def test_postgres_is_killed_and_comes_back(shop, mortal_postgres):
    with shop.life() as committed:
        process = shop.start()
        for _ in range(2):
            shop.produced(20)
            time.sleep(shop.draw.uniform(0, 0.5))
            mortal_postgres.crash()
            time.sleep(shop.draw.uniform(0, 1))
            mortal_postgres.restart()
        shop.produced(20)
    assert committed[0] > 20 and shop.settle() == []
    assert process.poll() is None, "an outage must not end the producer"


def test_the_broker_is_killed_while_the_producer_is_too(shop, mortal_kafka):
    broker_dies_with_producer(shop, mortal_kafka, "")
    assert shop.settle() == []


def test_the_registry_is_down_and_comes_back(shop, mortal_registry):
    with shop.life():
        running = shop.start()
        shop.produced(10)
        mortal_registry.crash()
        shop.produced(20)  # who has started needs it no more
        running.terminate()
        running.wait(60)
        late = shop.start()
        time.sleep(1)
        mortal_registry.restart()
        if late.poll() is not None or not late.log.read_text():
            late.wait(60)
        while late.poll() is not None:  # a supervisor's part: exit code 1 means "again"
            assert late.returncode == 1, late.log.read_text()
            late = shop.start()
            time.sleep(1)
        shop.produced(10)
    assert shop.settle() == []


@pytest.mark.parametrize("mutant", ["naive_watermark", "save_before_delivery"])
def test_the_suite_finds_a_poller_that_misses_rows(shop, mortal_kafka, mutant):
    if mutant == "naive_watermark":
        shop.start(mutant)
        shop.produced(60)
        with closing(psycopg2.connect(shop.fault_rig.env["POSTGRES_DSN"])) as slow, slow.cursor() as cursor:
            cursor.execute("UPDATE orders SET city = 'late' WHERE order_id = (SELECT min(order_id) FROM orders)")
            assert shop.settle() == [], "a later change was read, and with it the earlier time was passed"
            slow.commit()
    else:
        broker_dies_with_producer(shop, mortal_kafka, mutant)
    assert shop.settle(), "the mutant missed nothing"


def broker_dies_with_producer(shop, kafka, mutant):
    """Rows are polled while the broker is away, and the producer dies before the broker is back."""
    process = shop.start(mutant)
    with shop.life():
        shop.produced(20)
    # With nothing under way, the next poll is that of the update, whatever the broker does.
    shop.wait(lambda: not shop.missed())
    kafka.crash()
    with psycopg2.connect(shop.fault_rig.env["POSTGRES_DSN"]) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET city = 'while the broker was away'")
        cursor.execute("SELECT max(updated_at) FROM orders")
        (updated_at,) = cursor.fetchone()
    connection.close()
    if mutant:
        watermark = Path(shop.fault_rig.env["STATE_DIR"]) / "orders.json"
        # A poll that was sending when the broker went gives up after `SETTLE_SECONDS`, 150; the next one saves early.
        shop.wait(lambda: Position.from_json(json.loads(watermark.read_text())).low.time >= updated_at, seconds=300)
    else:
        time.sleep(2)  # ten polls, of which none may be saved
    process.kill()
    process.wait()
    kafka.restart()
    shop.start(mutant)
