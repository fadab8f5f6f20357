"""`make up` and `make down`: the platform on one machine, live until somebody ends it.

Services keep their data between starts. What is started and restarted is decided here; the services themselves
belong to `stack`, the processes to `workers`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.embedded.commands.first_date import first_date_of
from infra.embedded.commands.first_history import ShortHistory, make_history
from infra.embedded.commands.store_kind import StoreKind, services_with, store_of
from infra.embedded.processes.ports import LOOPBACK
from infra.embedded.processes.restarts import Restarts
from infra.embedded.processes.workers import Workers
from infra.embedded.progress import Reporter
from infra.embedded.services.kafka_node import ADMIN
from infra.embedded.services.spark.history import SparkHistory
from infra.embedded.stack import Stack
from infra.embedded.toolchain.toolchain import REPOSITORY
from platform_core.domain.catalog import configured_catalog
from platform_core.settings import Settings, settings
from platform_kafka.access import SINK, producer_user

ROOT = REPOSITORY / ".platform" / "up"
HISTORY, SUPERVISOR = Path("state", "history.json"), Path("supervisor.json")
"""Below the platform's folder."""

# Yesterday may be looked at now, not at 06:00: on a laptop nobody waits for the night.
LIVE_SETTINGS = {"PARTITION_READY_HOUR_UTC": "0"}


def up(config: Settings, past: ShortHistory, store: StoreKind | None = None, root: Path = ROOT) -> int:
    """Start everything, print where to look, and stay; return the exit code.

    Args:
        config: Settings with the engine and its size.
        past: What the first start makes.
        store: Where the lake is, a folder or a bucket; by default where the first start put it, in a folder.
        root: The platform's folder.
    """
    reporter = Reporter()
    services = services_with(store_of(root, store))
    with Stack(
        root, services=services, engine=config.spark_engine, reporter=reporter, durable=True, config=config
    ) as stack:
        supervisor = root / SUPERVISOR
        supervisor.write_text(json.dumps({"pid": os.getpid(), "start": _start_time(os.getpid())}))
        opening = datetime.now(UTC).date() - timedelta(days=past.days)
        env = {**stack.env(), **LIVE_SETTINGS, **first_date_of(root / HISTORY, opening)}
        workers = Workers(root, env, stack.kafka_logins())
        try:
            reporter.line("Preparing topics, schemas and the shop")
            workers.run("producers", "provision", kafka_user=ADMIN)
            workers.start("sink", "sink", kafka_user=SINK, endpoint=True)
            make_history(workers, root / HISTORY, past, Settings.of(env), reporter)
            workers.start("shop", "simulation", "simulate-shop")
            catalog = configured_catalog(settings())
            for name, error in catalog.broken.items():
                reporter.line(f"`{name}` does not run: {error}")
            for domain in catalog.with_source:
                workers.start(
                    f"producer-{domain.command}",
                    "producers",
                    domain.command,
                    kafka_user=producer_user(domain.name),
                    endpoint=True,
                )
            workers.start_dagster_ui()
            workers.start_dagster_daemon(endpoint=True)
            _report(reporter, stack, workers, env)
            return _supervise(stack, workers, reporter)
        finally:
            reporter.line("Ending everything")
            workers.stop()
            supervisor.unlink(missing_ok=True)


def down() -> int:
    """End what `up` started; return 0 when it is gone."""
    try:
        state = json.loads((ROOT / SUPERVISOR).read_text())
    except FileNotFoundError:
        print("Nothing runs: `make up` starts the platform.")
        return 0
    pid = int(state["pid"])
    if _start_time(pid) != state["start"]:
        (ROOT / SUPERVISOR).unlink(missing_ok=True)
        print("Nothing runs; the last `make up` did not end in good order.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while _start_time(pid) == state["start"]:
        if time.monotonic() > deadline:
            print(f"Process {pid} did not end within 120 s; look at it, or end it with `kill -9 {pid}`.")
            return 1
        time.sleep(0.2)
    print("Everything has ended; the data stays for the next `make up`.")
    return 0


def _report(reporter: Reporter, stack: Stack, workers: Workers, env: dict[str, str]) -> None:
    reporter.line("")
    reporter.line(f"  Dagster UI      {workers.ui}")
    if isinstance(history := stack.services.get(SparkHistory.name), SparkHistory):
        reporter.line(f"  Spark's history {history.url}")
    reporter.line(f"  Lake            {env['LAKE_URI']}")
    reporter.line(f"  Kafka           {env['KAFKA_BOOTSTRAP_SERVERS']}")
    reporter.line(f"  Schema Registry {env['SCHEMA_REGISTRY_URL']}")
    ports = ", ".join(f"{name.removeprefix('producer-')} {port}" for name, port in workers.metrics_ports.items())
    reporter.line(f"  Metrics         http://{LOOPBACK}:PORT/metrics and /healthz; PORT: {ports}")
    reporter.line(f"  Logs            {stack.root / 'logs'}")
    reporter.line(f"  Variables       {workers.write_env()} (for a shell of your own: `set -a; . FILE`)")
    reporter.line("")
    reporter.line("Live. Ctrl-C here or `make down` elsewhere ends everything.")


def _supervise(stack: Stack, workers: Workers, reporter: Reporter) -> int:
    """Watch until a service dies or somebody ends it; a process, or a part of a service, starts again, ever later."""
    restarts = Restarts()
    while True:
        time.sleep(1)
        if not stack.alive():
            gone = [name for name, service in stack.services.items() if service.pid is None]
            reporter.line(f"Service {', '.join(gone)} ended by itself; its log is in {stack.root}. Ending everything.")
            return 1
        dead = {process.name: process for process in workers.dead()} | stack.dead_parts()
        for name, process in dead.items():
            if (pause := restarts.died(name)) is not None:
                reporter.line(
                    f"{name} ended by itself and starts again in {pause:.0f} s; its log `{process.log}` ends with:\n"
                    f"{process.log_tail()}"
                )
        for name in restarts.due():
            if name in workers.running:
                workers.restart(name)
            else:
                stack.restart_part(name)


def _start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: tells a process from a later one with its id.

    Returns:
        None when there is no such process, or when it has ended and only waits for its parent (a zombie).
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
