"""A load that remembers what Kafka acknowledged, and the judgement whether Bronze holds exactly that.

The load goes through the platform's own producer. The faults that it must outlive are the tests'.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest
from confluent_kafka import KafkaError, Message, Producer

from platform_core.settings import Settings
from platform_kafka import clients

TICK_SECONDS = 0.02


@dataclass(frozen=True)
class Acknowledgement:
    """A record that the producer was told is safe.

    Attributes:
        number: The how many-th record it is; its `event_id`.
        partition: Where it is.
        offset: Where it is; None when a broker only said that it has the record already, which is its answer to a
            retry that comes too late for it to remember the place.
        at: When the producer was told, on the monotonic clock, seconds.
    """

    number: int
    partition: int
    offset: int | None
    at: float


class AcknowledgedLoad:
    """Sends numbered records at a steady rate until the block ends, then waits for every report.

    Args:
        settings: Where Kafka is.
        topic: Where the records go.
        event: Makes the value of a record's number.
        per_second: Records a second.
        patch: Lets the platform's producer report successes too, which it leaves out for speed.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        event: Callable[[int], bytes],
        per_second: int,
        patch: pytest.MonkeyPatch,
    ) -> None:
        self._topic, self._event, self._per_tick = topic, event, round(per_second * TICK_SECONDS)
        self.sent = 0
        self.acknowledged: list[Acknowledgement] = []
        self.refused: list[KafkaError] = []
        with patch.context() as patched:
            patched.setattr(clients, "Producer", _reporting_successes)
            self._producer = clients.connect_producer(settings, on_failed_delivery=self._report)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(60)
        if kind is None:
            assert (left, self.refused) == (0, []), "records were neither acknowledged nor still on their way"

    def resumed_after(self, number: int, partitions: int) -> bool:
        """Tell whether every partition has acknowledged a record sent after the given one."""
        later = {each.partition for each in reversed(self.acknowledged) if each.number > number}
        return len(later) == partitions

    def longest_gap(self, since: float = 0.0) -> float:
        """Return the longest time that one partition acknowledged nothing, among gaps that end after `since`.

        Args:
            since: On the monotonic clock, seconds.
        """
        last: dict[int, float] = {}
        longest = 0.0
        for each in list(self.acknowledged):
            if each.at >= since:
                longest = max(longest, each.at - last.get(each.partition, each.at))
            last[each.partition] = each.at
        return longest

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            for number in range(self.sent, self.sent + self._per_tick):
                self._producer.produce(self._topic, self._event(number), str(number))
            self.sent += self._per_tick
            due += TICK_SECONDS
            self._producer.poll(max(0.0, due - time.monotonic()))

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.refused.append(error)
            return
        number, offset = int(json.loads(message.value() or b"")["event_id"]), message.offset()
        self.acknowledged.append(
            Acknowledgement(number, message.partition() or 0, offset if offset >= 0 else None, time.monotonic())
        )


def broken_promises(acknowledged: Sequence[Acknowledgement], rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return what is wrong with Bronze: a record that is not where Kafka said, or an offset that is there twice.

    Args:
        acknowledged: What Kafka said.
        rows: Bronze's rows.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        places.setdefault(row["event_id"], []).append((row["_partition"], row["_offset"]))
    counts = Counter(place for found in places.values() for place in found)
    wrong = [f"{place} is there {count} times" for place, count in counts.items() if count > 1]
    for each in acknowledged:
        found = places.get(str(each.number), [])
        if not any(partition == each.partition and each.offset in (None, offset) for partition, offset in found):
            wrong.append(f"{each} is at {found}")
    return wrong


def _reporting_successes(config: dict[str, Any]) -> Producer:
    return Producer({**config, "delivery.report.only.error": False})
