"""`make demo`: the whole path once, from four sources to the warehouse, with a late correction and a proof.

This is the order of events and what counts as success. How a stage works belongs to the stage, what is lost is said by
the audit, and how it looks belongs to `demo_report`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from audit.report import AuditReport
from audit.run import audit
from infra.embedded.commands.demo_report import answer_questions, domain_rows, print_report, write_report
from infra.embedded.commands.first_date import first_date
from infra.embedded.commands.store_kind import StoreKind, services_with
from infra.embedded.errors import StackError
from infra.embedded.processes.workers import Workers
from infra.embedded.progress import Reporter
from infra.embedded.services.kafka_node import ADMIN
from infra.embedded.stack import Stack
from infra.embedded.toolchain.toolchain import REPOSITORY
from pdp.actions.group_offsets import lags
from pdp.commands.audit import show as show_audit
from platform_core.domain.catalog import Catalog, Domain, configured_catalog
from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import Settings, settings
from platform_kafka.access import SIMULATION, SINK, producer_user
from platform_kafka.reader import OperatorKafka
from simulation.demonstration import LATE_CHANGES, TOTALS
from simulation.world import SOURCES
from warehouse.connection import connect

ROOT = REPOSITORY / ".platform" / "demo"

# The demo cannot wait for 06:00 UTC nor for a quiet minute; nothing else differs from production.
DEMO_SETTINGS = {
    "PARTITION_READY_HOUR_UTC": "0",
    "PARTITION_SETTLE_SECONDS": "2",
    "PARTITION_RETRY_BACKOFF_SECONDS": "5",
    # Dagster looks for due sensors every five seconds, and five that tick then take a fifth of a core from the runs.
    "DISCOVERY_INTERVAL_SECONDS": "10",
    "SINK_FLUSH_INTERVAL_SECONDS": "2",
    "RUN_MAX_DATES": "31",
}


class Demo:
    """One run of the demo.

    Args:
        days: Days of history before today.
        events_per_day: Clickstream events a day.
        seed: Seed of the history.
        config: Settings with the engine and its size.
        store: Where the lake is: a folder, or a bucket of an S3 server.
        keep: Stay after the report, with the UI, until Ctrl-C.
    """

    def __init__(
        self, days: int, events_per_day: int, seed: int, config: Settings, store: StoreKind, *, keep: bool
    ) -> None:
        self.days = days
        self.events_per_day = events_per_day
        self.seed = seed
        self.config = config
        self.engine = config.spark_engine
        self.store: StoreKind = store
        self.keep = keep
        self.end = datetime.now(UTC).date()
        self.reporter = Reporter()
        self.seconds: dict[str, float] = {}
        self.produced: dict[str, int] = {}
        self.report: dict[str, Any] = {}
        self.audit: AuditReport | None = None

    def run(self) -> int:
        """Run everything; return the exit code: 0 only when nothing was lost and every partition is DONE."""
        started = time.monotonic()
        if ROOT.exists() and not (ROOT / "stack.lock").exists():
            shutil.rmtree(ROOT)
        with self._timed("services"):
            stack = Stack(
                ROOT,
                services=services_with(self.store),
                engine=self.engine,
                reporter=self.reporter,
                driver_memory=_driver_memory(self),
                config=self.config,
            )
            stack.__enter__()
        try:
            env = {**stack.env(), **DEMO_SETTINGS, **first_date(self.end - timedelta(days=self.days))}
            os.environ.update(env)
            settings.cache_clear()
            workers = Workers(ROOT, env, stack.kafka_logins())
            workers.write_env()
            try:
                code = self._stages(workers, settings())
                self.seconds["total"] = round(time.monotonic() - started, 1)
                self._finish(code)
                if self.keep:
                    self._stay(workers)
                return code
            finally:
                workers.stop()
        finally:
            stack.__exit__(None, None, None)

    def _stages(self, workers: Workers, config: Settings) -> int:
        catalog, lake = configured_catalog(config).require_whole(), Lake(config)
        self.report = {
            "lake": lake.root,
            "warehouse": _warehouse_access(config),
            "postgres": config.postgres_dsn.get_secret_value(),
            "days": self.days,
            "events_per_day": self.events_per_day,
            "seed": self.seed,
            "engine": self.engine,
        }
        write_report(ROOT, self.report)
        if self.engine == "spark":
            scratch = str(ROOT / "warm-up") if lake.is_local else lake.uri("warm-up")
            workers.start("warm-up", "infra.embedded.commands.warm_up", scratch, may_end=True)
        with self._timed("provision"):
            workers.run("producers", "provision", kafka_user=ADMIN)
            workers.run("simulation", "shop-init", "--seed", str(self.seed), kafka_user=SIMULATION)
            workers.start("sink", "sink", kafka_user=SINK, endpoint=True)
            workers.write_env()  # now with the sink's address
        with self._timed("replay"):
            self._add_produced(
                workers.run(
                    "simulation",
                    "replay",
                    *("--days", str(self.days)),
                    *("--events-per-day", str(self.events_per_day)),
                    *("--seed", str(self.seed)),
                    *("--end", self.end.isoformat()),
                    kafka_user=SIMULATION,
                )
            )
            for domain in catalog.with_source:  # what the town has no history of, as it is now
                if domain.name not in SOURCES and domain.source_table:
                    self._poll_once(workers, domain)
            self.reporter.line("  " + ", ".join(f"{k} {v:,}" for k, v in self.produced.items()))
        with self._timed("ingest"):
            # The UI loads while the sink drains; no sensor ticks before the daemon runs.
            self.report["ui"] = workers.start_dagster_ui()
            self.reporter.line(f"  Dagster UI: {workers.ui}")
            self._drain(workers, config, catalog)
        workers.start_dagster_daemon()
        with self._timed("process"):
            self._wait_until_done(workers, catalog, lake)
        with self._timed("late"):
            self._late(workers, config, catalog, lake)
        with self._timed("account"):
            return self._account(config, catalog, lake)

    def _poll_once(self, workers: Workers, domain: Domain) -> None:
        user = producer_user(domain.name)
        self._add_produced(workers.run("producers", domain.command, "--once", kafka_user=user))

    def _add_produced(self, summary: dict[str, Any]) -> None:
        for name, entry in summary.get("domains", {}).items():
            self.produced[name] = self.produced.get(name, 0) + int(entry["produced"])

    def _drain(self, workers: Workers, config: Settings, catalog: Catalog) -> None:
        """Wait until the sink has committed everything that the topics hold."""
        topics = [domain.topic.name for domain in catalog]
        shown = -1

        def caught_up() -> bool:
            nonlocal shown
            with OperatorKafka(config) as kafka:
                behind = sum(each.lag for each in lags(kafka, topics))
            if behind != shown:
                self.reporter.line(f"  lag {behind:,}")
                shown = behind
            return behind == 0

        _wait("the sink to catch up", caught_up, 900, workers)

    def _wait_until_done(
        self, workers: Workers, catalog: Catalog, lake: Lake, newer: dict[tuple[str, date], datetime] | None = None
    ) -> None:
        """Wait until every date of Bronze is DONE, and those in `newer` since the time given there."""
        store = DeltaPartitionMeta(lake)
        shown = ""
        failures: set[str] = set()

        def done() -> bool:
            nonlocal shown
            rows = {(row.domain, row.partition_date): row for row in store.rows()}
            wanted = {(d.name, day) for d in catalog for day in lake.list_bronze(d) if day < self.end}
            counts = {
                d.name: sum(
                    1
                    for key in wanted
                    if key[0] == d.name
                    and key in rows
                    and rows[key].status is State.DONE
                    and (not newer or key not in newer or (rows[key].processed_at or newer[key]) > newer[key])
                )
                for d in catalog
            }
            dead = [
                f"{r.domain} {r.partition_date}: {r.error_message}" for r in rows.values() if r.status is State.DEAD
            ]
            if dead:
                raise StackError("Partitions are DEAD:\n" + "\n".join(dead))
            for row in rows.values():
                failure = f"  {row.domain} {row.partition_date} failed and is retried: {row.error_message}"
                if row.status is State.FAILED and failure not in failures:
                    failures.add(failure)
                    self.reporter.line(failure[:400])
            line = ", ".join(f"{name} {n}" for name, n in counts.items()) + f" of {self.days} dates DONE"
            if line != shown:
                self.reporter.line(f"  {line}")
                shown = line
            return sum(counts.values()) == len(wanted) and bool(wanted)

        _wait("every date to be DONE", done, 1800, workers)

    def _late(self, workers: Workers, config: Settings, catalog: Catalog, lake: Lake) -> None:
        """Let late records of the oldest date arrive, by the ordinary way, and wait for its correction."""
        day = self.end - timedelta(days=self.days)
        before = _totals(config, catalog, lake, day)
        since = datetime.now(UTC)
        started = time.monotonic()
        changes = " and ".join(f"{count} {name}" for name, count in LATE_CHANGES.items())
        self.reporter.line(f"  {changes} of {day} arrive late")
        sent = workers.run(
            "simulation",
            "late",
            *("--date", day.isoformat(), "--seed", str(self.seed)),
            *(text for name, count in LATE_CHANGES.items() for text in (f"--{name}", str(count))),
            kafka_user=SIMULATION,
        )
        self._add_produced(sent)
        for domain in catalog.with_source:
            if domain.name in LATE_CHANGES and domain.source_table:
                self._poll_once(workers, domain)
        self._drain(workers, config, catalog)
        self._wait_until_done(workers, catalog, lake, {(name, day): since for name in LATE_CHANGES})
        after = _totals(config, catalog, lake, day)
        self.report["late"] = {
            "date": day.isoformat(),
            "before": before,
            "after": after,
            "seconds": round(time.monotonic() - started, 1),
        }

    def _account(self, config: Settings, catalog: Catalog, lake: Lake) -> int:
        store = DeltaPartitionMeta(lake)
        with connect(config, "pdp:demo") as connection:
            self.report["questions"] = answer_questions(connection, config.snowflake_database)
        history = store.history()
        partitions = store.rows()
        self.report["partitions"] = [
            {
                "domain": row.domain,
                "date": row.partition_date.isoformat(),
                "status": row.status.value,
                "transitions": [
                    t.to_status for t in history if (t.domain, t.partition_date) == (row.domain, row.partition_date)
                ],
            }
            for row in partitions
        ]
        self.audit = audit(config, catalog, lake)
        self.report["audit"] = self.audit.to_json()
        self.report["domains"] = domain_rows(self.audit, self.produced)
        return _verdict(self.report, [row for row in partitions if row.partition_date < self.end])

    def _finish(self, code: int) -> None:
        self.report["seconds"] = {name: round(value, 1) for name, value in self.seconds.items()}
        self.report["passed"] = code == 0
        write_report(ROOT, self.report)
        if self.audit is not None:
            show_audit(self.audit)
        print_report(self.report, ROOT)

    def _stay(self, workers: Workers) -> None:
        self.reporter.line(f"Dagster UI: {workers.ui}  (Ctrl-C ends everything)")
        while not workers.dead():
            time.sleep(1)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        self.reporter.line(f"[{stage}]")
        started = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - started
        self.reporter.line(f"  {self.seconds[stage]:.1f} s")


def _driver_memory(demo: Demo) -> str:
    return "6g" if demo.events_per_day > 300_000 else "3g"


def _wait(what: str, ready: Callable[[], bool], timeout_seconds: float, workers: Workers) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        for process in workers.dead():
            raise StackError(
                f"`{process.name}` ended while the demo waited for {what}. Its log `{process.log}` ends with:\n"
                f"{process.log_tail()}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"Waited {timeout_seconds:.0f} s for {what}. Look at the logs in `{ROOT / 'logs'}` and run again."
            )
        time.sleep(1)


def _totals(config: Settings, catalog: Catalog, lake: Lake, day: date) -> dict[str, str]:
    """Return a date's totals in Gold and in the warehouse, exact, as text."""
    result = {
        f"gold_{each.column}": _gold_total(lake, catalog[each.domain], each.table, day, each.column) for each in TOTALS
    }
    with connect(config, "pdp:demo") as connection:
        cursor = connection.cursor()
        for each in TOTALS:
            domain = catalog[each.domain]
            table = f"{config.snowflake_database}.{domain.warehouse_schema}.{each.table.upper()}"
            row = cursor.execute(
                f"SELECT SUM({each.column.upper()}::NUMBER(38,{each.scale})) FROM {table}"
                f" WHERE {domain.partition_key.upper()} = '{day.isoformat()}'"
            ).fetchone()
            result[f"warehouse_{each.column}"] = str(row[0])
    return result


def _gold_total(lake: Lake, domain: Domain, table: str, day: date, column: str) -> str:
    rows = read_date(lake, lake.delta(lake.gold(domain, table)), domain.partition_key, day, [column])
    return str(pc.sum(rows.column(column)).as_py() or 0)


def _warehouse_access(config: Settings) -> dict[str, Any]:
    """How to look at the warehouse: by the Snowflake protocol while it runs, in its DuckDB file afterwards."""
    return {
        "account": config.snowflake_account,
        "host": config.snowflake_host,
        "port": config.snowflake_port,
        "protocol": config.snowflake_protocol,
        "user": config.snowflake_user,
        "database": config.snowflake_database,
        "files": str(ROOT / "warehouse"),
    }


def _verdict(report: dict[str, Any], partitions: list[Any]) -> int:
    lost = sum(row["lost"] for row in report["domains"].values())
    unfinished = [row for row in partitions if row.status is not State.DONE]
    late = report["late"]
    corrected = late["before"] != late["after"] and all(
        late["after"][f"gold_{each.column}"] == late["after"][f"warehouse_{each.column}"] for each in TOTALS
    )
    audited = report["audit"]["clean"]
    return int(bool(lost or unfinished or not corrected or not audited))


def run(days: int, events_per_day: int, seed: int, config: Settings, store: StoreKind, *, keep: bool) -> int:
    """Run the demo; see `Demo`."""
    Path(ROOT).parent.mkdir(parents=True, exist_ok=True)
    return Demo(days, events_per_day, seed, config, store, keep=keep).run()
