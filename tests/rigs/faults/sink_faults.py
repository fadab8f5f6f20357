"""The soak's faults of the stage Kafka → Bronze, and the order in which a seed deals them.

A soak deals its faults in an order that the seed decides, all of them before one comes again; what a fault does is
drawn from the seed, its number and its name, so that a replay meets the same ones however fast the machine is. The
faults of the source, of Bronze and of the stages after it belong to `soak`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from infra.embedded.services.kafka import Kafka
from platform_kafka.records import Headers
from tests.rigs.faults.fault_rig import OPTIONS, FaultRig
from tests.rigs.faults.faulty_s3 import Fault, FaultyS3
from tests.rigs.logged_process import LoggedProcess

LARGEST = 1_048_576
"""`SINK_MAX_RECORD_BYTES` of a sink that nobody configured."""


class SinkFaults:
    """Two sinks under load, and what befalls them.

    Args:
        rig: The sinks' topic and lake.
        s3: The store before the lake.
        kafka: The broker.
        only: Names of the faults; all by default.

    Attributes:
        options: Settings of the sinks.
        refused: Records that were produced to become dead letters.
        done: The faults that were met, in order.
    """

    options = OPTIONS

    def __init__(self, rig: FaultRig, s3: FaultyS3, kafka: Kafka, only: Collection[str] = ()) -> None:
        self._rig, self._s3, self._kafka = rig, s3, kafka
        self._members = [rig.start(**self.options), rig.start(**self.options)]
        self._deals, self._draw = random.Random(rig.seed), random.Random()
        self._faults = {fault.__name__: fault for fault in self.faults() if not only or fault.__name__ in only}
        self.refused = 0
        self.done: list[str] = []

    def faults(self) -> list[Callable[[], object]]:
        """Return all of them."""
        return [
            self.kill,
            self.terminate,
            self.join_and_leave,
            self.store_fails,
            self.reply_lost_and_kill,
            self.reply_lost_and_rebalance,
            self.broker_dies,
            self.odd_records,
        ]

    def run(self, seconds: float) -> None:
        """Meet every fault, and then more of them until so long has passed."""
        deadline = time.monotonic() + seconds
        while not self.done or time.monotonic() < deadline:
            for name in self._deals.sample(sorted(self._faults), len(self._faults)):
                if len(self.done) < len(self._faults) or time.monotonic() < deadline:
                    self.meet(name)

    def meet(self, name: str) -> None:
        """Let one fault happen, and wait until the sinks go on after it."""
        self._draw = random.Random(f"{self._rig.seed}:{len(self.done)}:{name}")
        started = time.monotonic()
        self.done.append(name)
        print(f"--fault-seed {self._rig.seed}: {len(self.done)}. {name}", flush=True)
        self._faults[name]()
        committed = sum(self._rig.committed().values())
        self._rig.wait(lambda: sum(self._rig.committed().values()) > committed)
        print(f"  {time.monotonic() - started:.1f} s", flush=True)

    def settle(self) -> None:
        """Let the sinks finish what was produced, and end."""
        self._rig.wait(lambda: self._rig.committed() == self._rig.ends(), 120)
        for member in self._members:
            self.stop(member)

    def kill(self) -> None:
        member = self._leaving()
        member.kill()
        member.wait()
        self._join()

    def terminate(self) -> None:
        self.stop(self._leaving())
        self._join()

    def join_and_leave(self) -> None:
        third = self._rig.start(**self.options)
        self._rig.wait(lambda: "partitions_assigned" in third.log.read_text())
        time.sleep(self._draw.uniform(0, 1))
        self.stop(third)

    def store_fails(self) -> None:
        fault = self._draw.choice(list(Fault))
        with self._store(fault, self._draw.choice((0.2, 0.5, 1.0))):
            failed = self._s3.counts[fault] + self._draw.randint(2, 12)
            self._rig.wait(lambda: self._s3.counts[fault] >= failed)

    def reply_lost_and_kill(self) -> None:
        with self._store(Fault.REPLY_LOST, 0.5):
            time.sleep(self._draw.uniform(0.5, 2))
            self.kill()

    def reply_lost_and_rebalance(self) -> None:
        """Files are stored and nobody hears of it while their Kafka partitions change hands, twice."""
        with self._store(Fault.REPLY_LOST, self._draw.choice((0.5, 0.7, 0.8))):
            lost = self._s3.counts[Fault.REPLY_LOST]
            self._rig.wait(lambda: self._s3.counts[Fault.REPLY_LOST] > lost + 10)
            third = self._rig.start(**self.options)
            self._rig.wait(lambda: "partitions_assigned" in third.log.read_text())
            leaving = self._leaving()
            leaving.send_signal(self._draw.choice((signal.SIGKILL, signal.SIGTERM)))
            self._members.append(third)
        self._ended(leaving)

    def broker_dies(self) -> None:
        self._kafka.crash()
        time.sleep(self._draw.uniform(0.2, 3))
        self._kafka.restart()

    def odd_records(self) -> None:
        """Keys, headers and sizes at the limits: each is a row or a dead letter, and nothing ends."""
        good = self._rig.event(0)
        empty = good[:-1] + b', "padding": ""}'
        longest = empty.replace(b'""', b'"' + b"x" * (LARGEST - len(empty)) + b'"')
        headers: Headers = [("h" * 30_000, b""), ("dlq.attempt", b"9" * 5_000), ("dlq.offset", b"-1"), ("", None)]
        many: Headers = [(f"h{number}", b"v" * 100) for number in range(2_000)]
        taken: list[tuple[bytes | None, bytes | None, Headers]] = [
            (b"1", good, headers),
            (b"\xff" * 100_000, good, []),
            (b"1", good, many),
            (b"1", longest, []),
        ]
        refused: list[tuple[bytes | None, bytes | None, Headers]] = [
            (b"1", longest + b" ", headers),
            (b"k" * 900_000, b"{", many),
            (b"1", b"{", headers),
            (b"", good, []),
            (None, good, headers),
            (b"1", None, many),
            (b"1", b"\xff" * LARGEST, []),
        ]
        producer = self._rig.producer()
        for key, value, each in self._draw.sample([*taken, *refused], len(taken) + len(refused)):
            producer.produce(self._rig.topic, value, key, headers=list(each))
        assert producer.flush(60) == 0
        self.refused += len(refused)

    def stop(self, member: LoggedProcess) -> None:
        """SIGTERM: records that cannot be written in time are left, and it says so."""
        self._rig.wait(lambda: "sink_started" in member.log.read_text())  # before, no handler takes the signal
        member.terminate()
        self._ended(member)

    def _ended(self, member: LoggedProcess) -> None:
        assert member.wait(60) in (0, os.EX_TEMPFAIL, -signal.SIGKILL), member.log.read_text()
        self._rig.processes.remove(member)  # who leaves records behind is no failure of a later wait

    def _leaving(self) -> LoggedProcess:
        return self._members.pop(self._draw.randrange(len(self._members)))

    def _join(self) -> None:
        self._members.append(self._rig.start(**self.options))

    @contextmanager
    def _store(self, fault: Fault, rate: float) -> Iterator[None]:
        self._s3.rate, self._s3.fault = rate, fault
        try:
            yield
        finally:
            self._s3.fault = None
