"""What the soak is tried on: sinks over a faulty store, orders captured from Postgres, and the pipeline behind them.

The services may be killed. The pipeline is the platform's own ticks and runs, in this process, over the folder in
which the store keeps its objects. What goes wrong, and what must come of it, belongs to `soak`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
import yaml

from audit.report import AuditReport
from audit.run import audit
from infra.embedded.processes.service import EmbeddedService
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.warehouse import WarehouseService
from platform_assets.definitions import build_defs
from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors import discovery_tick
from platform_assets.sensors.watch import find_alerts
from platform_core.clock import SystemClock
from platform_core.domain.catalog import load_catalog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, settings
from platform_kafka.formats.wire_format import decode_value
from platform_kafka.provision import provision
from simulation.shop.seed import seed_shop
from simulation.world import World, WorldSize
from tests.rigs.faults.fault_rig import FaultRig
from tests.rigs.lake.delta_rows import rows
from tests.rigs.logged_process import LoggedProcess
from tests.rigs.producers.moved_clock import PostgresWithClock
from tests.rigs.settings_of import settings_of
from tests.rigs.sink.rig import SinkRig
from warehouse import connection

CDC_PROCESS = str(Path(__file__).with_name("cdc_process.py"))
PIPELINE = {
    "PARTITION_READY_HOUR_UTC": "0",
    "PARTITION_SETTLE_SECONDS": "0",
    "PARTITION_RETRY_BACKOFF_SECONDS": "0",
    "RUN_MAX_DATES": "31",
}
PLACE = (
    "WITH made AS (INSERT INTO orders (user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total, created_at) VALUES (1, 1, 'Graz', 'card', 10, 1, 0, 11, %s) RETURNING order_id)"
    " INSERT INTO order_items SELECT order_id, 1, (SELECT min(menu_item_id) FROM menu_items), 'soup', 1, 10 FROM made"
    " RETURNING order_id"
)
CHANGES = (
    "UPDATE orders SET status = 'confirmed' WHERE order_id = %s",
    "UPDATE orders SET city = 'Linz' WHERE order_id = %s",
    "UPDATE orders SET deleted_at = now() WHERE order_id = %s",
    "UPDATE orders SET created_at = current_date - interval '36 hours' WHERE order_id = %s",
    "DELETE FROM orders WHERE order_id = %s",
)


@dataclass(frozen=True)
class MortalServices:
    """What the platform stands on besides Kafka and the store; each may be killed and restarted."""

    postgres: PostgresWithClock
    registry: SchemaRegistry
    sail: SparkConnect
    warehouse: WarehouseService

    def each(self) -> tuple[EmbeddedService, ...]:
        return self.postgres, self.registry, self.sail, self.warehouse


class FaultyPlatform(FaultRig):
    """Sinks of two domains, the capture of orders, and the pipeline.

    Args:
        kafka: The broker.
        folder: For logs, the catalog and the producer's state.
        services: The other services.
        lake_env: Variables of the lake as the sinks see it, behind the proxy.
        lake_folder: The same lake as the pipeline sees it.
        seed: Decides when and how often the faults come.
        patch: Gives this process the settings of the platform.
        mutant: A way to break the sink, see `sink_process`.
    """

    def __init__(
        self,
        kafka: Kafka,
        folder: Path,
        services: MortalServices,
        lake_env: Mapping[str, str],
        lake_folder: Path,
        *,
        seed: int,
        patch: pytest.MonkeyPatch,
        mutant: str = "",
    ) -> None:
        super().__init__(kafka, folder, lake_env=lake_env, seed=seed, mutant=mutant)
        self.services = services
        document = yaml.safe_load(self.domains_file.read_text())
        orders = yaml.safe_load((REPOSITORY / "domains" / "domains.yaml").read_text())["domains"]["orders"]
        orders["topic"] |= {"name": f"raw-orders-{uuid.uuid4().hex[:6]}", "partitions": 2}
        document["domains"]["orders"] = orders
        self.domains_file.write_text(yaml.safe_dump(document))
        for service in services.each():
            self.env |= service.env()
        self.env |= {"STATE_DIR": str(folder / "state"), "SNOWFLAKE_DATABASE": f"T{uuid.uuid4().hex[:10]}", **PIPELINE}
        self.settings = settings_of(self.env)
        self.catalog = load_catalog(self.domains_file)
        services.postgres.move(0)
        with self.connect() as database, database.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        database.close()
        shop = self.connect()
        shop.autocommit = True
        seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
        shop.close()
        provision(self.settings, self.catalog)
        lake_folder.mkdir(parents=True, exist_ok=True)
        for name, value in {**self.env, "LAKE_URI": str(lake_folder)}.items():
            patch.setenv(name, value)
        arguments = connection._arguments  # the client's patience of 30 s is no part of what is judged
        patch.setattr(connection, "_arguments", lambda *a: arguments(*a) | {"login_timeout": 2})
        settings.cache_clear()
        self.pipeline = Pipeline(Lake(settings()), self.domains_file)

    @property
    def the_lake(self) -> Lake:
        """The lake as the pipeline sees it: the store's proxy takes minutes for all files."""
        return self.pipeline.lake

    def close(self) -> None:
        super().close()
        self.pipeline.close()
        settings.cache_clear()

    def event(self, number: int) -> bytes:
        """Some events are of yesterday, which the pipeline processes; those of today wait for the end of their day."""
        return SinkRig.event(self, 5 * number + (number % 10 == 0))

    def connect(self) -> Any:
        return psycopg2.connect(self.env["POSTGRES_DSN"], connect_timeout=30)

    def start_capture(self) -> LoggedProcess:
        """Start the producer of orders."""
        env = {**os.environ, **self.env, "PYTHONPATH": str(REPOSITORY), "CDC_POLL_INTERVAL_SECONDS": "0.5"}
        log = self.folder / f"cdc-{len(self.processes)}.log"
        process = LoggedProcess.begin([sys.executable, CDC_PROCESS, "", "orders"], env, log)
        self.processes.append(process)
        return process

    @contextmanager
    def life(self) -> Iterator[list[int]]:
        """Orders are placed, change, move to another date and are deleted; yields how often."""
        stop, committed, draw = threading.Event(), [0], random.Random(self.seed)
        today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)

        def live() -> None:
            database, placed = None, []
            while not stop.is_set():
                try:
                    if database is None or database.closed:
                        database = self.connect()
                    with database, database.cursor() as cursor:
                        cursor.execute(PLACE, (today - timedelta(days=draw.choice((1, 1, 2))),))
                        placed.append(cursor.fetchone()[0])
                        cursor.execute(draw.choice(CHANGES), (draw.choice(placed),))
                    committed[0] += 1
                except (psycopg2.OperationalError, psycopg2.InterfaceError):
                    database = None
                stop.wait(0.3)
            if database is not None:
                database.close()

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield committed
        finally:
            stop.set()
            thread.join()

    def captured(self) -> None:
        """Wait until two polls have been: two orders, one after the other, tell it."""
        topic = self.catalog["orders"].topic.name
        for _ in range(2):
            with self.connect() as database, database.cursor() as cursor:
                cursor.execute(PLACE, (datetime.now(UTC) - timedelta(days=1),))
                (marker,) = cursor.fetchone()
            database.close()
            self.wait(lambda marker=marker: marker in {decode_value(m.value())["order_id"] for m in self.read(topic)})

    def pdp(self, *arguments: str) -> str:
        """Run an operator's command; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "pdp", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def audit(self, *names: str, dates: DateRange | None = None) -> AuditReport:
        """Audit every stage of some domains, or of both."""
        return audit(settings(), self.catalog, self.pipeline.lake, domains=names or None, dates=dates)


class Pipeline:
    """Ticks of discovery and the runs that they ask for, of every domain of a catalog.

    Attributes:
        later: How far the ticks' clock is ahead of the machine's.
    """

    def __init__(self, lake: Lake, domains_file: Path) -> None:
        self.lake = lake
        self.lake.prepare()
        self.catalog = load_catalog(domains_file)
        self.store = MetadataStore()
        self.partitions = DeltaPartitionMeta(lake)
        self.later = timedelta()
        self._defs = build_defs(self.catalog)
        self._instance_of = dg.DagsterInstance.ephemeral()
        self.instance = self._instance_of.__enter__()
        self._cursors: dict[str, DiscoveryCursor] = {}

    def close(self) -> None:
        self._instance_of.__exit__(None, None, None)

    def tick(self, name: str) -> list[dg.RunRequest]:
        """Look at a domain's Bronze once."""
        pipeline = self

        class Clock(SystemClock):
            def now(self) -> datetime:
                return super().now() + pipeline.later

            def seconds(self) -> float:
                return super().seconds() + pipeline.later.total_seconds()

        cursor = self._cursors.get(name, DiscoveryCursor.from_json(None))
        done = discovery_tick.tick(self.catalog[name], self.store, self.instance, cursor, settings(), clock=Clock())
        self._cursors[name] = done.cursor or cursor
        return done.run_requests

    def run(self, name: str, request: dg.RunRequest | None = None, day: date | None = None) -> bool:
        """Run what discovery asked for, or a date as a person launches it; tell whether all went well."""
        job = self._defs.resolve_job_def(job_name(self.catalog[name]))
        tags = {**request.tags, discovery_tick.RUN_KEY: str(request.run_key)} if request else {}
        key = request.partition_key if request else str(day)
        return job.execute_in_process(
            partition_key=key, tags=tags, instance=self.instance, raise_on_error=False
        ).success

    def work(self, name: str, times: int = 1) -> int:
        """Tick and run as the daemon does, so many times at most, and return how many runs were asked for."""
        asked = 0
        for _ in range(times):
            requests = self.tick(name)
            asked += len(requests)
            for request in requests:
                self.run(name, request)
            if not requests:
                break
        return asked

    def row(self, name: str, day: date) -> Partition:
        row = self.partitions.get(name, day)
        assert row is not None
        return row

    def finished(self, name: str) -> list[date]:
        """The dates that are published."""
        return [row.partition_date for row in self.partitions.rows(name) if row.status is State.DONE]

    def published(self, name: str, day: date) -> dict[str, list[dict[str, Any]]]:
        """Silver and Gold of a date."""
        domain = self.catalog[name]
        tables = [self.lake.silver(domain), *(self.lake.gold(domain, table) for table in domain.gold.tables)]
        return {table: rows(self.lake, table, domain.partition_key, day) for table in tables}

    def file(self, name: str, day: date, draw: random.Random) -> Path:
        """One of the files that a date was made of."""
        return Path(self.lake.path(draw.choice(self.row(name, day).source_files)))

    def alerts(self, kind: AlertKind, since: datetime) -> list[Alert]:
        """What the watch would raise now and has not raised before that time, each once."""
        now = datetime.now(UTC)
        found = find_alerts(
            self.catalog, self.partitions, self.partitions.rows(), self.instance, settings().ui_url, since, now
        )
        return list({alert.key: alert for alert in found if alert.kind is kind and alert.at >= since}.values())
