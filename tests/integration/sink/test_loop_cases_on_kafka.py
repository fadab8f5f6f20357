"""The cases of the loop's unit tests on a real broker, with a sink in this process and a store in memory."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from platform_core.domain.catalog import load_catalog
from platform_core.errors import TransientError
from sink.consuming.kafka import KafkaBroker, KafkaPublisher
from sink.loop import Sink
from tests.rigs.fake_clock import FakeClock
from tests.rigs.kafka.memory_kafka import MemoryStore
from tests.rigs.sink.loop import BAD, SinkLoopCases
from tests.rigs.sink.rig import PARTITIONS, SinkRig
from tests.rigs.sink.samples import EVENT, NOW, encoded

SECONDS = 180


class KafkaLoopRig:
    """See `tests.rigs.sink.loop.LoopRig`."""

    def __init__(self, rig: SinkRig) -> None:
        self._rig = rig
        rig.create_topics()
        self._settings = rig.settings.model_copy(
            update={"sink_flush_buffer_size": 5, "sink_flush_interval_seconds": 60.0}
        )
        self._producer: Producer = rig.producer()
        self._appended: Counter[int] = Counter()
        self.store = MemoryStore()
        self.clock = FakeClock(NOW)
        self._start()

    def _start(self) -> None:
        domain = load_catalog(self._rig.domains_file)["events"]
        self.broker = KafkaBroker(self._settings)
        publisher = KafkaPublisher(self._settings)
        self.sink = Sink([domain], self.broker, publisher, self.store, self._settings, self.clock)
        self.sink.drain_seconds = 0.0
        self.broker.subscribe([self._rig.topic], self.sink)

    @property
    def committed(self) -> dict[int, int]:
        return {partition: offset for partition, offset in self._rig.committed().items() if offset >= 0}

    def event(self, day: int = 1, partition: int = 0) -> int:
        return self._append(encoded(EVENT, event_timestamp=f"2026-03-0{day}T10:00:00Z"), partition)

    def bad(self, partition: int = 0) -> int:
        return self._append(BAD, partition)

    def _append(self, value: bytes, partition: int) -> int:
        self._producer.produce(self._rig.topic, value, b"1", partition=partition)
        assert self._producer.flush(30) == 0
        self._appended[partition] += 1
        return self._appended[partition] - 1

    def turn(self, seconds: float = 0) -> None:
        self.clock.advance(seconds=seconds)
        self.sink.step()
        self.until(lambda: self.sink.store_failing_since or self._all_taken())

    def _all_taken(self) -> bool:
        positions = self.sink._offsets.positions
        if len(self.sink._offsets.owned) < PARTITIONS:
            return False
        return all(positions.get((self._rig.topic, p), 0) >= end for p, end in self._appended.items())

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline
            self.sink.step()

    def fail_commits(self, failing: bool) -> None:
        def commit(offsets: object) -> None:
            raise TransientError("The coordinator is loading.")

        if failing:
            self.broker.commit = commit  # type: ignore[method-assign, assignment]
        # Otherwise nothing: the sink that has taken over has a client of its own.

    def replace_sink(self) -> None:
        self.sink.close()
        self._start()

    def dead_letters(self) -> list[tuple[bytes | None, dict[str, bytes | None]]]:
        return [(message.value(), dict(message.headers())) for message in self._rig.read(f"dlq-{self._rig.topic}")]

    def ledger(self) -> list[dict]:
        return self._rig.ledger()


@pytest.fixture
def loop_rig(sink_rig):
    rig = KafkaLoopRig(sink_rig)
    yield rig
    with contextlib.suppress(RuntimeError):  # the test has closed it
        rig.sink.close()


class TestOnKafka(SinkLoopCases):
    """On a real broker."""
