"""The faults of the soak, each with what must come of it: the platform goes on, or names the problem and its advice.

A soak deals the faults in an order that the seed decides, all of them before one comes again; what a fault does is
drawn from the seed and its number, so that a replay meets the same ones however fast the machine is.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from audit.report import Kind
from infra.embedded.services.kafka import Kafka
from platform_core.lake.alerts import AlertKind, AlertLog
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_state import State
from platform_kafka.records import Headers
from tests.rigs.faults.fault_rig import OPTIONS
from tests.rigs.faults.faulty_platform import FaultyPlatform
from tests.rigs.faults.faulty_s3 import Fault, FaultyS3
from tests.rigs.logged_process import LoggedProcess

CLOCK_STEPS = (-7_200.0, -500.0, -30.0, -1.0, 1.0, 30.0, 500.0, 7_200.0)
OUTAGE = timedelta(minutes=10)
TICK = timedelta(seconds=30)
RUNS_OF_AN_OUTAGE = 6
"""At 0, 30, 60, 120, 240 and 480 seconds: the pauses double, and count from a run's own end."""
LARGEST = 1_048_576
"""`SINK_MAX_RECORD_BYTES` of a sink that nobody configured."""


class Soak:
    """A platform under load, and the faults that it meets.

    Attributes:
        refused: Records that were produced to become dead letters.
        done: The faults that were met, in order.
    """

    def __init__(self, platform: FaultyPlatform, s3: FaultyS3, kafka: Kafka, only: Collection[str] = ()) -> None:
        self.platform, self.s3, self.kafka = platform, s3, kafka
        self.members = [platform.start(**OPTIONS), platform.start(**OPTIONS)]
        self.capture = platform.start_capture()
        self.refused = 0
        self.done: list[str] = []
        self.draw = random.Random(platform.seed)
        self._faults: dict[str, Callable[[], object]] = {
            fault.__name__: fault
            for fault in (
                self.kill,
                self.terminate,
                self.join_and_leave,
                self.store_fails,
                self.reply_lost_and_kill,
                self.reply_lost_and_rebalance,
                self.broker_dies,
                self.odd_records,
                self.clock_steps,
                self.capture_is_killed,
                self.registry_is_down,
                self.bronze_file_is_removed,
                self.bronze_file_is_damaged,
                self.engine_is_down_for_ten_minutes,
                self.warehouse_is_down,
            )
            if not only or fault.__name__ in only
        }
        self._deals = random.Random(platform.seed)

    def run(self, seconds: float) -> None:
        """Meet every fault, and then more of them for so long."""
        deadline = time.monotonic() + seconds
        while not self.done or time.monotonic() < deadline:
            for name in self._deals.sample(sorted(self._faults), len(self._faults)):
                if time.monotonic() > deadline and len(self.done) >= len(self._faults):
                    break
                self.meet(name)

    def meet(self, name: str) -> None:
        """Let one fault happen, and wait until the sinks go on after it."""
        self.draw = random.Random(f"{self.platform.seed}:{len(self.done)}:{name}")
        started = time.monotonic()
        self.done.append(name)
        self._faults[name]()
        committed = sum(self.platform.committed().values())
        self.platform.wait(lambda: sum(self.platform.committed().values()) > committed)
        print(f"--fault-seed {self.platform.seed}: {len(self.done)}. {name}, {time.monotonic() - started:.1f} s")

    # -- the sinks, their store and their broker

    def kill(self) -> None:
        member = self._leaving()
        member.kill()
        member.wait()
        self._join()

    def terminate(self) -> None:
        self.stop(self._leaving())
        self._join()

    def join_and_leave(self) -> None:
        third = self.platform.start(**OPTIONS)
        self.platform.wait(lambda: "partitions_assigned" in third.log.read_text())
        time.sleep(self.draw.uniform(0, 1))
        self.stop(third)

    def store_fails(self) -> None:
        with self._store(self.draw.choice(list(Fault)), self.draw.choice((0.2, 0.5, 1.0))):
            time.sleep(self.draw.uniform(0.5, 4))

    def reply_lost_and_kill(self) -> None:
        with self._store(Fault.REPLY_LOST, 0.5):
            time.sleep(self.draw.uniform(0.5, 2))
            self.kill()

    def reply_lost_and_rebalance(self) -> None:
        """Files are stored and nobody hears of it while their Kafka partitions change hands, twice."""
        with self._store(Fault.REPLY_LOST, self.draw.choice((0.7, 1.0))):
            lost = self.s3.counts[Fault.REPLY_LOST]
            self.platform.wait(lambda: self.s3.counts[Fault.REPLY_LOST] > lost)
            third = self.platform.start(**OPTIONS)
            self.platform.wait(lambda: "partitions_assigned" in third.log.read_text())
            leaving = self._leaving()
            leaving.send_signal(self.draw.choice((9, 15)))
            self.members.append(third)
        assert leaving.wait(60) in (0, os.EX_TEMPFAIL, -9), leaving.log.read_text()

    def broker_dies(self) -> None:
        self.kafka.crash()
        time.sleep(self.draw.uniform(0.2, 3))
        self.kafka.restart()

    def odd_records(self) -> None:
        """Keys, headers and sizes at the limits: each is a row or a dead letter, and nothing ends."""
        good = self.platform.event(0)
        padded = good[:-1] + b', "padding": "' + b"x" * (LARGEST - len(good) - 15) + b'"}'
        assert len(padded) == LARGEST - 1
        longest = padded[:-2] + b'x"}'
        headers: Headers = [("h" * 30_000, b""), ("dlq.attempt", b"9" * 5_000), ("dlq.offset", b"-1"), ("", None)]
        many: Headers = [(f"h{number}", b"v" * 100) for number in range(2_000)]
        taken: list[tuple[bytes | None, bytes | None, Headers]] = [
            (b"1", good, headers),
            (b"\xff" * 100_000, good, []),
            (b"1", good, many),
            (b"1", longest, []),
        ]
        refused: list[tuple[bytes | None, bytes | None, Headers]] = [
            (b"1", longest[:-2] + b'x"}', headers),
            (b"k" * 900_000, b"{", many),
            (b"1", b"{", headers),
            (b"", good, []),
            (None, good, headers),
            (b"1", None, many),
            (b"1", b"\xff" * LARGEST, []),
        ]
        producer = self.platform.producer()
        for key, value, each in self.draw.sample([*taken, *refused], len(taken) + len(refused)):
            producer.produce(self.platform.topic, value, key, headers=list(each))
        assert producer.flush(60) == 0
        self.refused += len(refused)

    # -- the source

    def clock_steps(self) -> None:
        for _ in range(self.draw.randint(2, 4)):
            self.platform.services.postgres.move(self.draw.choice(CLOCK_STEPS))
            time.sleep(self.draw.uniform(0, 1))

    def capture_is_killed(self) -> None:
        self.capture.kill()
        self.capture.wait()
        self.capture = self.platform.start_capture()

    def registry_is_down(self) -> None:
        """Who runs needs it no more, and a sink starts without it."""
        registry = self.platform.services.registry
        registry.crash()
        try:
            self.terminate()
            self.platform.captured()
        finally:
            registry.restart()

    # -- Bronze and what comes after it

    def bronze_file_is_removed(self) -> None:
        """A loss is no correction: the date keeps what is published, and an alert names the file."""
        name, day = self._published_date()
        pipeline, file = self.platform.pipeline, self._file(name, day)
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
        pipeline, file = self.platform.pipeline, self._file(name, day)
        before, content = pipeline.published(name, day), file.read_bytes()
        damage = self.draw.choice(("emptied", "cut", "foreign", "no rows"))
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
            self.platform.pdp("partitions", "revive", name, str(day))
        self._is_published_again(name, day)

    def engine_is_down_for_ten_minutes(self) -> None:
        """No date pays for it, runs are asked for ever more rarely, one alert is raised, and all goes on by itself."""
        pipeline, sail, since = self.platform.pipeline, self.platform.services.sail, datetime.now(UTC)
        name = self._waiting_domain()
        retries = {row.partition_date: row.retry_count for row in pipeline.partitions.rows(name)}
        sail.crash()
        runs = 0
        while pipeline.later < OUTAGE:
            runs += pipeline.work(name)
            pipeline.later += TICK
        rows = pipeline.partitions.rows(name)
        assert 0 < runs <= RUNS_OF_AN_OUTAGE, f"{runs} runs were launched while the engine was down"
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
        pipeline, warehouse, since = self.platform.pipeline, self.platform.services.warehouse, datetime.now(UTC)
        name = self._waiting_domain()
        warehouse.crash()
        try:
            assert pipeline.work(name, 2) > 0
            rows = pipeline.partitions.rows(name)
            assert State.FAILED in {row.status for row in rows} and State.DEAD not in {row.status for row in rows}
            assert all(row.retry_count <= self.platform.catalog[name].max_retries - 1 for row in rows)
            assert len(pipeline.alerts(AlertKind.RUN_FAILED, since)) == 1
        finally:
            warehouse.restart()
        self._work_until(name, lambda: State.FAILED not in {row.status for row in pipeline.partitions.rows(name)})

    # -- the end

    def settle(self) -> None:
        """Take all that was produced to its end: the load has stopped, and nothing fails any more."""
        platform = self.platform
        platform.captured()
        self.capture.terminate()
        assert self.capture.wait(30) == 0, self.capture.log.read_text()
        platform.wait(lambda: platform.committed() == platform.ends(), 120)
        for member in self.members:
            self.stop(member)
        platform.drain()
        for name in ("events", "orders"):
            self._work_until(name, lambda name=name: not platform.pipeline.work(name))

    def stop(self, member: LoggedProcess) -> None:
        """SIGTERM: records that cannot be written in time are left, and it says so."""
        self.platform.wait(lambda: "sink_started" in member.log.read_text())  # before, no handler takes the signal
        member.terminate()
        assert member.wait(60) in (0, os.EX_TEMPFAIL), member.log.read_text()

    def _leaving(self) -> LoggedProcess:
        return self.members.pop(self.draw.randrange(len(self.members)))

    def _join(self) -> None:
        self.members.append(self.platform.start(**OPTIONS))

    @contextmanager
    def _store(self, fault: Fault, rate: float) -> Iterator[None]:
        self.s3.rate, self.s3.fault = rate, fault
        try:
            yield
        finally:
            self.s3.fault = None

    def _published_date(self) -> tuple[str, date]:
        name, pipeline = self.draw.choice(("events", "orders")), self.platform.pipeline
        self._work_until(name, lambda: pipeline.finished(name))
        return name, self.draw.choice(sorted(pipeline.finished(name)))

    def _waiting_domain(self) -> str:
        """A domain with dates that are due, because files have come."""
        name, pipeline = self.draw.choice(("events", "orders")), self.platform.pipeline
        self.platform.wait(lambda: pipeline.tick(name))
        return name

    def _file(self, name: str, day: date) -> Path:
        return self.platform.pipeline.file(name, day, self.draw)

    def _names(self, name: str, day: date, kinds: Collection[Kind]) -> None:
        report = self.platform.audit(name, dates=DateRange(day, day))
        found = {problem.kind for problem in report.problems}
        assert found and found <= set(kinds), f"the audit of {name} {day} found {report.problems or report.not_checked}"

    def _is_published_again(self, name: str, day: date) -> None:
        pipeline = self.platform.pipeline
        self._work_until(name, lambda: pipeline.row(name, day).status is State.DONE)
        report = self.platform.audit(name, dates=DateRange(day, day))
        assert report.clean, f"{name} {day}: {report.problems or report.not_checked}"

    def _work_until(self, name: str, condition: Callable[[], object]) -> None:
        def worked() -> bool:
            self.platform.pipeline.work(name)
            return bool(condition())

        self.platform.wait(worked)
