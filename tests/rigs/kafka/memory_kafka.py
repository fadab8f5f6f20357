"""A broker, a publisher and a store held in memory, which fail on demand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_kafka.publishing import RecordTooLargeError
from platform_kafka.records import Headers, TopicPartition
from sink.consuming.broker import Batch, Listener, OnDelivery


class MemoryMessage:
    def __init__(self, topic, partition, offset, key, value, timestamp, headers):
        self._ = (topic, partition, offset, key, value, timestamp, headers)

    def topic(self) -> str:
        return self._[0]

    def partition(self) -> int:
        return self._[1]

    def offset(self) -> int:
        return self._[2]

    def key(self) -> bytes | None:
        return self._[3]

    def value(self) -> bytes | None:
        return self._[4]

    def timestamp(self) -> tuple[int, int]:
        return self._[5]

    def headers(self) -> Headers | None:
        if isinstance(self._[6], Exception):
            raise self._[6]
        return self._[6]


class MemoryBroker:
    def __init__(self, partitions: Mapping[str, int]) -> None:
        self.logs: dict[TopicPartition, list[MemoryMessage]] = {
            (topic, partition): [] for topic, count in partitions.items() for partition in range(count)
        }
        self.group: dict[TopicPartition, int] = {}
        self.commits: list[dict[TopicPartition, int]] = []
        self.paused = False
        self.paused_topics: set[str] = set()
        self.closed = False
        self.commits_fail = False
        self.unusable: dict[str, str] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._listener: Listener | None = None

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = b"1",
        partition: int = 0,
        timestamp: tuple[int, int] = (1, 1_790_000_000_000),
        headers: Headers | Exception | None = None,
    ) -> int:
        log = self.logs[topic, partition]
        log.append(MemoryMessage(topic, partition, len(log), key, value, timestamp, headers))
        return len(log) - 1

    def subscribe(
        self, topics: Collection[str], listener: Listener, partitions: Collection[TopicPartition] | None = None
    ) -> None:
        self._listener = listener
        self.assign([where for where in self.logs if where[0] in topics] if partitions is None else partitions)

    def forget(self) -> None:
        """A member that was killed leaves no call behind."""
        self._positions.clear()
        self.paused = False
        self.paused_topics.clear()

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        for where in partitions:
            self._positions[where] = self.group.get(where, 0)
        self._listener.assigned(partitions)

    def revoke(self, partitions: Collection[TopicPartition], *, lost: bool = False) -> None:
        (self._listener.lost if lost else self._listener.revoked)(partitions)
        for where in partitions:
            del self._positions[where]

    def consume(self, max_messages: int, timeout_seconds: float) -> Batch:
        messages: list[MemoryMessage] = []
        ends = {}
        for where, position in self._positions.items():
            if self.paused or where[0] in self.paused_topics or where[0] in self.unusable:
                continue
            found = self.logs[where][position : position + max_messages - len(messages)]
            messages += found
            self._positions[where] = position + len(found)
            if self._positions[where] == len(self.logs[where]):
                ends[where] = self._positions[where]
        return Batch(messages, ends, self.unusable)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        if self.commits_fail:
            raise TransientError("The coordinator is loading.")
        gone = [where for where in offsets if where[0] in self.unusable]
        offsets = {where: offset for where, offset in offsets.items() if where not in gone}
        for where, offset in offsets.items():
            assert where in self._positions, f"commit of {where}, which is not owned"
            assert offset >= self.group.get(where, 0), f"commit of {where} goes back to {offset}"
        self.commits.append(dict(offsets))
        self.group.update(offsets)
        return gone

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {where: self.group[where] for where in partitions if where in self.group}

    def lag(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return {where: len(self.logs[where]) - position for where, position in positions.items()}

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def pause_topic(self, topic: str) -> None:
        self.paused_topics.add(topic)

    def resume_topic(self, topic: str) -> None:
        self.paused_topics.discard(topic)

    def close(self) -> None:
        self.closed = True
        self.revoke(list(self._positions))


class MemoryPublisher:
    def __init__(self) -> None:
        self.records: dict[str, list[tuple[bytes | None, bytes | None, Headers]]] = defaultdict(list)
        self.confirming = True
        self.full = False
        self.largest: int | None = None
        self.error: PlatformError | None = None
        self.missing: set[str] = set()
        self.known_missing: set[str] = set()
        self._waiting: list[tuple[str, tuple[bytes | None, bytes | None, Headers], OnDelivery]] = []

    def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        if self.full:
            raise TransientError("The queue is full.")
        if topic in self.known_missing:
            raise PermanentError(f"There is no `{topic}`.")
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers)
        if self.largest is not None and size > self.largest:
            raise RecordTooLargeError(f"{topic} takes {self.largest} bytes.")
        self._waiting.append((topic, (key, value, headers), on_delivery))

    def poll(self) -> None:
        waiting, self._waiting = self._waiting, [] if self.confirming else self._waiting
        for topic, record, on_delivery in waiting if self.confirming else ():
            error = PermanentError(f"There is no `{topic}`.") if topic in self.missing else self.error
            if error is None:
                self.records[topic].append(record)
            on_delivery(error)

    def flush(self, timeout_seconds: float) -> int:
        self.poll()
        return len(self._waiting)

    def forget(self) -> None:
        """What a killed process had not sent is gone."""
        self._waiting.clear()


class MemoryStore:
    def __init__(self) -> None:
        self.files: dict[str, pa.Buffer] = {}
        self.journal: dict[str, pa.Buffer] = {}
        self.puts: list[str] = []
        self.failing = False
        self.failing_puts = False
        self.loses_answer = False

    def put(self, name: str, data: pa.Buffer) -> None:
        if "/sink_journal/" in name:
            self._answer(name)
            self.journal[name] = data
            return
        self.puts.append(name)
        self._answer(name)
        if self.failing_puts:
            raise TransientError(f"`{name}` is not taken.")
        self.files[name] = data
        if self.loses_answer:
            raise TransientError(f"`{name}`: the connection broke after the upload.")

    def read(self, name: str) -> pa.Buffer | None:
        self._answer(name)
        return (self.files | self.journal).get(name)

    def list(self, folder: str) -> list[str]:
        self._answer(folder)
        return sorted(name for name in self.files | self.journal if name.startswith(f"{folder}/"))

    def delete(self, name: str) -> None:
        self._answer(name)
        self.journal.pop(name, None)

    def _answer(self, name: str) -> None:
        if self.failing:
            raise TransientError(f"`{name}` is not reachable.")

    def rows(self) -> Sequence[dict]:
        return [row for data in self.files.values() for row in pq.read_table(pa.BufferReader(data)).to_pylist()]

    def offsets(self) -> Sequence[tuple[int, int]]:
        return sorted((row["_partition"], row["_offset"]) for row in self.rows())
