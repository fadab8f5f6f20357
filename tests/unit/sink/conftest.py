from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from platform_core.domain.catalog import Catalog
from platform_core.settings import Settings
from sink.loop import Sink
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryBroker, MemoryPublisher, MemoryStore
from tests.rigs.settings_of import settings_of
from tests.rigs.sink.loop import BAD
from tests.rigs.sink.samples import EVENT, NOW, encoded


@dataclass
class Rig:
    """A sink on memory, five rows a file and 60 seconds."""

    catalog: Catalog
    settings: Settings
    broker: MemoryBroker
    publisher: MemoryPublisher
    store: MemoryStore
    clock: FakeClock

    def __post_init__(self) -> None:
        self.sink = self.make_sink()

    def make_sink(self) -> Sink:
        domains = [self.catalog["events"], self.catalog["orders"]]
        sink = Sink(domains, self.broker, self.publisher, self.store, self.settings, self.clock)
        sink.drain_seconds = 0.0
        return sink

    def kill_and_restart(self, owned: Collection[int] = (0, 1)) -> None:
        """What a kill -9 leaves: the broker's, the store's and the publisher's content."""
        self.broker.forget()
        self.publisher.forget()
        self.sink = self.make_sink()
        wanted = [("raw-events", partition) for partition in owned]
        self.broker.subscribe(["raw-events", "raw-orders"], self.sink, [*wanted, ("raw-orders", 0)])

    def start(self) -> Rig:
        self.broker.subscribe(["raw-events", "raw-orders"], self.sink)
        return self

    def event(self, day: int = 1, partition: int = 0) -> int:
        return self.broker.append(
            "raw-events",
            encoded(EVENT, event_timestamp=f"2026-03-0{day}T10:00:00Z"),
            partition=partition,
        )

    def step(self, seconds: float = 0) -> None:
        self.clock.advance(seconds=seconds)
        self.sink.step()

    @property
    def committed(self) -> dict[int, int]:
        return {partition: offset for (topic, partition), offset in self.broker.group.items() if topic == "raw-events"}

    def bad(self, partition: int = 0) -> int:
        return self.broker.append("raw-events", BAD, partition=partition)

    def turn(self, seconds: float = 0) -> None:
        self.step(seconds)

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(10):
            if condition():
                return
            self.sink._recovery._next_look_at_commits = 0.0  # the coordinator is asked once a second
            self.sink.step()
        raise AssertionError("ten steps did not do it")

    def fail_commits(self, failing: bool) -> None:
        self.broker.commits_fail = failing

    def replace_sink(self) -> None:
        self.sink.close()
        self.sink = self.make_sink()
        self.broker.paused = False
        self.start()

    def dead_letters(self) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        return [(value, dict(headers)) for _, value, headers in self.publisher.records["dlq-raw-events"]]

    def ledger(self) -> list[dict]:
        return [json.loads(value or b"") for _, value, _ in self.publisher.records["processed-events"]]


@pytest.fixture
def make_rig(catalog: Catalog, tmp_path: Path):
    def make(**overrides: object) -> Rig:
        settings = settings_of(
            {"lake_uri": str(tmp_path), "sink_flush_buffer_size": 5, "sink_flush_interval_seconds": 60, **overrides}
        )
        broker = MemoryBroker({"raw-events": 2, "raw-orders": 1})
        return Rig(catalog, settings, broker, MemoryPublisher(), MemoryStore(), FakeClock(NOW))

    return make


@pytest.fixture
def rig(make_rig) -> Rig:
    return make_rig().start()


@pytest.fixture
def loop_rig(rig) -> Rig:
    return rig
