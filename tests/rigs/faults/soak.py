"""The faults of a whole platform under load, each with what must come of it.

The platform goes on by itself, or names the problem, and the documented advice leads out of it. Faults of the sinks
belong to `sink_faults`, the platform itself to `faulty_platform`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from audit.report import Kind
from infra.embedded.services.kafka import Kafka
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import AlertKind
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_state import State
from tests.rigs.faults.fault_rig import OPTIONS
from tests.rigs.faults.faulty_platform import FaultyPlatform
from tests.rigs.faults.faulty_s3 import FaultyS3
from tests.rigs.faults.sink_faults import SinkFaults

CLOCK_STEPS = (-7_200.0, -500.0, -30.0, -1.0, 1.0, 30.0, 500.0, 7_200.0)
OUTAGE = timedelta(minutes=10)
TICK = timedelta(seconds=30)
RUNS_OF_AN_OUTAGE = 6
"""At 0, 30, 60, 120, 240 and 480 seconds; a date that becomes due meanwhile makes it another run, of its own pauses."""

ROUNDS = 120
"""Ticks, with their runs; nearly all of them wait for a file. How long a run takes is not judged."""


class Soak(SinkFaults):
    """A platform under load, and the faults that it meets."""

    # Few files, so that a date is processed in seconds.
    options: ClassVar = {**OPTIONS, "SINK_FLUSH_BUFFER_SIZE": 200, "SINK_FLUSH_INTERVAL_SECONDS": 3}

    def __init__(self, platform: FaultyPlatform, s3: FaultyS3, kafka: Kafka, only: Collection[str] = ()) -> None:
        super().__init__(platform, s3, kafka, only)
        self._platform = platform
        self._capture = platform.start_capture()

    def faults(self) -> list[Callable[[], object]]:
        return [
            *super().faults(),
            self.clock_steps,
            self.capture_is_killed,
            self.registry_is_down,
            self.bronze_file_is_removed,
            self.bronze_file_is_damaged,
            self.engine_is_down_for_ten_minutes,
            self.warehouse_is_down,
        ]

    def settle(self) -> None:
        """Take all that was produced to its end: the load has stopped, and nothing fails any more."""
        platform = self._platform
        platform.captured()
        self._capture.terminate()
        assert self._capture.wait(30) == 0, self._capture.log.read_text()
        super().settle()
        platform.drain()
        for name in ("events", "orders"):
            self._work_until(name, lambda name=name: not platform.pipeline.tick(name))

    def clock_steps(self) -> None:
        for _ in range(self._draw.randint(2, 4)):
            self._platform.services.postgres.move(self._draw.choice(CLOCK_STEPS))
            time.sleep(self._draw.uniform(0, 1))

    def capture_is_killed(self) -> None:
        self._capture.kill()
        self._capture.wait()
        self._capture = self._platform.start_capture()

    def registry_is_down(self) -> None:
        """Who runs needs it no more, and a sink starts without it; a producer that starts meanwhile waits."""
        registry = self._platform.services.registry
        self._platform.captured()  # the producer may have been started a moment ago
        registry.crash()
        try:
            self.terminate()
            self._platform.captured()
        finally:
            registry.restart()

    def bronze_file_is_removed(self) -> None:
        """A loss is no correction: the date keeps what is published, and an alert names the file."""
        name, day = self._published_date()
        pipeline, file = self._platform.pipeline, self._file(name, day)
        before, content = pipeline.published(name, day), file.read_bytes()
        file.unlink()
        pipeline.work(name)
        assert pipeline.published(name, day) == before, f"what vanished from {name} {day} was taken for a correction"
        lost = [logged.alert for logged in AlertLog(pipeline.lake).read() if file.name in logged.alert.what]
        assert [alert.kind for alert in lost] == [AlertKind.FILE_MISSING]
        self._names(name, day, {Kind.LOST, Kind.FILE_MISSING})
        file.write_bytes(content)
        self._is_published_again(name, day)

    def bronze_file_is_damaged(self) -> None:
        """Emptied, cut off or another's: the date keeps what is published, and the error names the file."""
        name, day = self._published_date()
        pipeline, file = self._platform.pipeline, self._file(name, day)
        before, content = pipeline.published(name, day), file.read_bytes()
        damage = self._draw.choice(("emptied", "cut", "foreign", "no rows"))
        if damage == "foreign":
            pq.write_table(pa.table({"name": ["somebody"], "_offset": ["x"]}), file)
        elif damage == "no rows":
            pq.write_table(pq.read_table(file, partitioning=None).slice(0, 0), file)
        else:
            file.write_bytes(content[: 0 if damage == "emptied" else len(content) // 2])
        pipeline.run(name, day=day)
        kept = pipeline.published(name, day) == before
        row = pipeline.row(name, day)
        self._names(name, day, {Kind.LOST, Kind.UNREADABLE_FILE, Kind.FOOTER_DIFFERS, Kind.PHANTOM})
        file.write_bytes(content)
        assert kept and row.status is State.FAILED and file.name in (row.error_message or ""), f"{damage}: {row}"
        pipeline.tick(name)
        if pipeline.row(name, day).status is State.DEAD:
            self._platform.pdp("partitions", "revive", name, str(day))
        self._is_published_again(name, day)

    def engine_is_down_for_ten_minutes(self) -> None:
        """No date pays for it, runs are asked for ever more rarely, one alert is raised, and all goes on by itself."""
        pipeline, sail, since = self._platform.pipeline, self._platform.services.sail, datetime.now(UTC)
        name = self._waiting_domain()
        retries = {row.partition_date: row.retry_count for row in pipeline.partitions.rows(name)}
        sail.crash()
        runs = 0
        while pipeline.later < OUTAGE:
            runs += pipeline.work(name)
            pipeline.later += TICK
        rows = pipeline.partitions.rows(name)
        assert 0 < runs < RUNS_OF_AN_OUTAGE + len(rows), f"{runs} runs were launched while the engine was down"
        assert all(row.retry_count <= retries.get(row.partition_date, 0) for row in rows), "an outage cost a retry"
        assert not {State.FAILED, State.DEAD} & {row.status for row in rows}
        assert len(pipeline.alerts(AlertKind.RUN_FAILED, since)) == 1
        sail.restart()
        pipeline.later = 2 * OUTAGE  # the pause after the last run may be as long as the outage
        assert pipeline.work(name), "nothing goes on by itself"
        pipeline.later = timedelta()
        assert State.DONE in {row.status for row in pipeline.partitions.rows(name)}

    def warehouse_is_down(self) -> None:
        """Dates fail without a retry, one alert is raised, and all goes on by itself."""
        pipeline, warehouse, since = self._platform.pipeline, self._platform.services.warehouse, datetime.now(UTC)
        name = self._waiting_domain()
        warehouse.crash()
        try:
            assert pipeline.work(name, 2) > 0
            rows = pipeline.partitions.rows(name)
            assert State.FAILED in {row.status for row in rows} and State.DEAD not in {row.status for row in rows}
            assert all(row.retry_count <= self._platform.catalog[name].max_retries - 1 for row in rows)
            assert len(pipeline.alerts(AlertKind.RUN_FAILED, since)) == 1
        finally:
            warehouse.restart()
        self._work_until(name, lambda: State.FAILED not in {row.status for row in pipeline.partitions.rows(name)})

    def _published_date(self) -> tuple[str, date]:
        name, pipeline = self._draw.choice(("events", "orders")), self._platform.pipeline
        self._work_until(name, lambda: pipeline.finished(name))
        return name, self._draw.choice(sorted(pipeline.finished(name)))

    def _waiting_domain(self) -> str:
        """A domain with dates that are due, because files have come."""
        name, pipeline = self._draw.choice(("events", "orders")), self._platform.pipeline
        self._platform.wait(lambda: pipeline.tick(name))
        return name

    def _file(self, name: str, day: date) -> Path:
        return self._platform.pipeline.file(name, day, self._draw)

    def _names(self, name: str, day: date, kinds: Collection[Kind]) -> None:
        report = self._platform.audit(name, dates=DateRange(day, day))
        found = {problem.kind for problem in report.problems}
        assert found and found <= set(kinds), f"the audit of {name} {day} found {report.problems or report.not_checked}"

    def _is_published_again(self, name: str, day: date) -> None:
        pipeline = self._platform.pipeline
        self._work_until(name, lambda: pipeline.row(name, day).status is State.DONE)
        report = self._platform.audit(name, dates=DateRange(day, day))
        assert report.clean, f"{name} {day}: {report.problems or report.not_checked}"

    def _work_until(self, name: str, condition: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            if condition():
                return
            if not self._platform.pipeline.work(name):
                time.sleep(0.5)
        raise AssertionError(f"{name}: {self._platform.pipeline.partitions.rows(name)}")
