from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from platform_core.clock import FakeClock
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from sink.bronze.writer import Writer
from sink.loop import Sink
from tests.rigs.memory_kafka import MemoryBroker, MemoryPublisher, MemoryStore
from tests.rigs.settings_of import settings_of
from tests.rigs.sink_samples import EVENT, NOW, encoded


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
        writer = Writer(Lake(self.settings), self.store, domains, self.clock)
        return Sink(domains, self.broker, self.publisher, writer, self.store, "journal", self.settings, self.clock, 0.0)

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
