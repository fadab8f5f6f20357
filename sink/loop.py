"""The sink's loop: poll, buffer, write, commit.

What a step is made of lives in the modules around this one; only their order, and what happens when one of
them fails, is decided here. docs/architecture.md has the promise: an offset is committed only when every
record before it is in Bronze or confirmed in a dead-letter topic.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.records import Message, TopicPartition, kafka_timestamp
from sink.backoff import Backoff
from sink.broker import Broker, Publisher
from sink.bronze.journal import Journal
from sink.bronze.recovery import Recovery
from sink.bronze.store import Store
from sink.bronze.uploads import Uploads
from sink.bronze.writer import Writer, WrittenFile
from sink.buffer import Buffers, Row
from sink.dead_letters import DeadLetters
from sink.decoding import Decoder, Refusal
from sink.ledger import Ledger
from sink.metrics import SinkMetrics
from sink.offsets import Offsets, lowest
from sink.refusal_limit import RefusalLimit

log = logging.getLogger(__name__)

MAX_POLL_MESSAGES = 1_000
POLL_SECONDS = 0.25

# A stop or a rebalance may use this long to empty the buffers: less than the 30 s that Kubernetes waits
# before it kills, and than the 5 minutes after which the group expels a member.
DRAIN_SECONDS = 20.0

# The lag is read from the client's cache; a scraper asks every 15 s or so.
LAG_SECONDS = 5.0

# A poll ends after 0.25 s. One that took this long was frozen (a suspended machine, a swapping one), and the group may
# have expelled this member without its knowing yet. It writes nothing until the client has had the time to find out:
# what it holds is written by the new owner.
FROZEN_SECONDS = 5.0
HOLD_SECONDS = 2.0

# Asking the coordinator for what others have committed, while files of a killed process wait to be announced.
ADOPTION_SECONDS = 1.0


@dataclass(frozen=True)
class _FlushRequest:
    answered: threading.Event
    answer: dict[str, object]


class Sink:
    """Consumes the raw topics of some domains and writes them to Bronze.

    Args:
        domains: The domains to consume.
        publisher: The producer of dead letters and ledger records.
        writer: Writes files.
        store: Holds the files and the journal.
        journal_folder: Where the journal is, below the lake's root.
        settings: Flush size and interval, limits.
        clock: Decides the age of a buffer.
        drain_seconds: How long a stop or a rebalance may try to empty the buffers.
    """

    def __init__(
        self,
        domains: Collection[Domain],
        broker: Broker,
        publisher: Publisher,
        writer: Writer,
        store: Store,
        journal_folder: str,
        settings: Settings,
        clock: Clock,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._budget_bytes = settings.sink_max_buffered_bytes
        future = timedelta(hours=settings.sink_max_future_hours)
        self._decoders = {d.topic.name: Decoder(d, settings.sink_max_record_bytes, future) for d in domains}
        self._buffers = Buffers(
            settings.sink_flush_buffer_size, timedelta(seconds=settings.sink_flush_interval_seconds)
        )
        self._letters = DeadLetters(publisher, domains)
        self._ledger = Ledger(publisher)
        self._offsets = Offsets()
        self._unrecorded: deque[WrittenFile] = deque()
        self._recovered: deque[tuple[str, WrittenFile]] = deque()
        self._commit_backoff = Backoff()
        self.metrics = SinkMetrics(clock.now())
        self._journal = Journal(store, journal_folder, clock)
        self._uploads = Uploads(writer, self._journal, store, self.metrics)
        self._recovery = Recovery(self._journal, store, self._decoders, clock.now)
        self._unlooked: set[TopicPartition] = set()
        self._limit = RefusalLimit(settings.sink_max_refused_ratio)
        self._flush_requests: queue.SimpleQueue[_FlushRequest] = queue.SimpleQueue()
        self._stepped_at = time.monotonic()
        self._paused = False
        self._next_look = 0.0
        self._next_lag = 0.0
        self._hold_until = 0.0
        self._next_adoption = 0.0
        self._leaving = False

    def run(self, stopping: Callable[[], bool], until: Mapping[TopicPartition, int] | None = None) -> bool:
        """Consume until asked to stop, then write and commit what is buffered, and leave the group.

        Args:
            stopping: Asked after each step.
            until: End offsets; the run also ends when the group has committed them.

        Returns:
            Whether everything that was read is committed. If not, it is read again after the next start.

        Raises:
            PermanentError: Kafka refuses something for good.
            TransientError: a client cannot go on; a new process can.
        """
        self._broker.subscribe(list(self._decoders), self)
        try:
            while not stopping():
                self.step()
                if until is not None and self._has_committed(until):
                    break
        except BaseException:
            # Without draining: what is not committed is read again, and a broken client would only hang here.
            self._leave()
            raise
        return self.close()

    def step(self) -> None:
        """Do one turn of the loop.

        Raises:
            PermanentError: Kafka refuses something for good.
            TransientError: a client cannot go on.
        """
        asked_at = time.monotonic()
        batch = self._broker.consume(MAX_POLL_MESSAGES, POLL_SECONDS)
        now = self._clock.now()
        if (waited := time.monotonic() - asked_at) > FROZEN_SECONDS:
            log.warning("poll_took_long seconds=%.0f; nothing is written for %.0f s", waited, HOLD_SECONDS)
            self._hold_until = time.monotonic() + HOLD_SECONDS
        if self._unlooked and not self._uploads.backoff.waiting(now):
            self._recover(now)
        self._take_all(batch.messages, now)
        for where, end in batch.ends.items():
            self._offsets.reached(where, end)
        self._buffers.seal_due(now)
        if self._held_bytes() > self._budget_bytes:
            self._buffers.seal_above(self._budget_bytes - self._letters.size)
        if not self._uploads.backoff.waiting(now) and time.monotonic() >= self._hold_until:
            self._write_sealed(now)
        self._letters.pump()
        if not self._commit_backoff.waiting(now):
            self._commit(now)
        self._answer_flush_requests()
        self._steer()
        self._report(now)
        self._stepped_at = time.monotonic()

    def flush(self) -> bool:
        """Write all buffers, wait for the dead letters and commit, for at most the drain time.

        Returns:
            Whether everything that was read is committed.
        """
        deadline = time.monotonic() + self._drain_seconds
        while True:
            now = self._clock.now()
            self._buffers.seal_all()
            self._write_sealed(now)
            remaining = max(0.0, deadline - time.monotonic())
            self._letters.pump()
            if self._letters.open or self._unrecorded:
                self._publisher.flush(min(remaining, 1.0))
            self._commit(now)
            if not (self._buffers.rows or self._letters.open or self._commit_backoff.active):
                self._publisher.flush(max(0.0, deadline - time.monotonic()))
                self._uploads.settle(self._offsets.last_committed)
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)

    def close(self) -> bool:
        """Flush, then leave the group.

        Returns:
            Whether everything that was read is committed.
        """
        drained = self.flush()
        self._leave(wait=drained)
        return drained

    def request_flush(self, timeout_seconds: float) -> dict[str, object]:
        """Have the loop flush, from another thread, and wait for it.

        Returns:
            `drained`, `rows` that were buffered and `seconds` that it took.

        Raises:
            TransientError: the loop did not get to it in time.
        """
        request = _FlushRequest(threading.Event(), {})
        self._flush_requests.put(request)
        if not request.answered.wait(timeout_seconds):
            raise TransientError(
                f"The sink did not flush within {timeout_seconds:.0f} s. It goes on trying; look at its log."
            )
        return request.answer

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last step ended; a loop that hangs is seen by it."""
        return time.monotonic() - self._stepped_at

    @property
    def store_failing_since(self) -> datetime | None:
        """Since when the store takes nothing; None if it does."""
        return self._uploads.backoff.since

    @property
    def commits_failing_since(self) -> datetime | None:
        """Since when Kafka takes no commit; None if it does."""
        return self._commit_backoff.since

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take over partitions; they are read once it is known what Bronze has of them."""
        self._offsets.assign(partitions)
        log.info("partitions_assigned %s", _names(partitions))
        self._unlooked.update(partitions)
        self._recover(self._clock.now())
        self._steer()

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Write and commit everything while the partitions are still owned, then give them up."""
        drained = not self._buffers.rows if self._leaving else self.flush()
        log.log(
            logging.INFO if drained else logging.WARNING,
            "partitions_revoked drained=%s rows_left=%d %s",
            drained,
            self._buffers.rows,
            _names(partitions),
        )
        self._give_up(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions up without a commit: their new owner reads the buffered records again."""
        log.warning("partitions_lost rows_dropped=%d %s", self._buffers.rows, _names(partitions))
        self._give_up(partitions)

    def _leave(self, *, wait: bool = False) -> None:
        self._leaving = True
        self._broker.close()
        self._uploads.close(wait=wait)

    def _give_up(self, partitions: Collection[TopicPartition]) -> None:
        gone = set(partitions)
        self._uploads.give_up(gone, self._buffers.sealed)
        self._offsets.give_up(gone)
        self._buffers.drop(gone)
        self._letters.drop(gone)
        self._recovery.give_up(gone)
        self._unlooked -= gone

    def _recover(self, now: datetime) -> None:
        try:
            self._recovery.look(self._unlooked)
        except TransientError as error:
            self._uploads.note(error, now)
            return
        self._unlooked.clear()
        self._uploads.note(None, now)

    def _take_all(self, messages: Sequence[Message], now: datetime) -> None:
        counts: dict[str, tuple[int, int]] = {}
        refused: list[tuple[Message, Refusal]] = []
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            if not self._offsets.advance((topic, partition), offset):
                continue
            value = message.value()
            size = len(value or b"")
            records, total = counts.get(topic, (0, 0))
            counts[topic] = (records + 1, total + size)
            if self._recovery.holds(message):
                continue
            outcome = self._decoders[topic].decode(message.key(), value, now)
            if isinstance(outcome, Refusal):
                refused.append((message, outcome))
            else:
                self._buffers.add(topic, Row(partition, offset, kafka_timestamp(message), outcome), size, now)
        for topic, (records, total) in counts.items():
            self.metrics.took(topic, records, total)
            reasons = Counter(str(refusal.reason) for message, refusal in refused if message.topic() == topic)
            self._limit.count(topic, records, reasons)
        for message, refusal in refused:
            self.metrics.refuse(message, refusal)
            self._letters.send(message, refusal)

    def _write_sealed(self, now: datetime) -> None:
        if self._unlooked:
            return  # the store did not even answer what it holds
        for buffer, file in self._uploads.put(self._buffers.sealed, now):
            self._buffers.written(buffer)
            if file is None:
                continue  # the owner of the other rows announces their common file
            self._unrecorded.append(file)
            log.debug("file_written name=%s rows=%d bytes=%d", file.name, file.rows, file.size)

    def _commit(self, now: datetime) -> None:
        offsets = self._offsets.committable(lowest(self._buffers.floors(), self._letters.floors()))
        if offsets:
            try:
                self._broker.commit(offsets)
            except TransientError as error:
                self._commit_backoff.failed(now)
                self.metrics.commit_failures.inc()
                log.warning("commit_failed error=%s", error)
                return
            self._offsets.committed(offsets)
        self._commit_backoff.succeeded()
        self._announce()
        self._uploads.settle(self._offsets.last_committed)

    def _announce(self) -> None:
        self._adopt()
        try:
            while self._unrecorded:
                name = self._unrecorded[0].name
                self._ledger.add(self._unrecorded[0], partial(self._uploads.announced, name))
                self._unrecorded.popleft()
            while self._recovered:
                entry, file = self._recovered[0]
                last = len(self._recovered) == 1 or self._recovered[1][0] != entry
                done = partial(self._journal.remove, entry) if last else _nothing
                self._ledger.add(file, done, recovered=True)
                self._recovered.popleft()
        except TransientError:
            return  # the queue is full; the next step goes on here

    def _adopt(self) -> None:
        """Take the recognised files whose offsets are committed by now, by this process or by others."""
        waiting = self._recovery.waiting
        if not waiting or time.monotonic() < self._next_adoption:
            return
        self._next_adoption = time.monotonic() + ADOPTION_SECONDS
        try:
            committed = self._broker.committed(waiting)
        except TransientError as error:
            log.warning("committed_unknown error=%s", error)
            return
        for entry, files in self._recovery.finish(committed):
            log.info("recovered files=%d records_recognised=%d", len(files), self._recovery.recognised)
            self._recovered.extend((entry.name, file) for file in files)

    def _answer_flush_requests(self) -> None:
        while not self._flush_requests.empty():
            request, started, rows = self._flush_requests.get(), time.monotonic(), self._buffers.rows
            drained = self.flush()
            request.answer.update(drained=drained, rows=rows, seconds=round(time.monotonic() - started, 3))
            request.answered.set()

    def _steer(self) -> None:
        failing = self._uploads.backoff.active
        blocked = failing or bool(self._unlooked) or self._held_bytes() > self._budget_bytes
        if blocked and not self._paused:
            log.warning("paused buffered_bytes=%d store_failing=%s", self._held_bytes(), failing)
            self._broker.pause()
        elif self._paused and not blocked:
            log.info("resumed")
            self._broker.resume()
        self._paused = blocked

    def _held_bytes(self) -> int:
        return self._buffers.size + self._letters.size

    def _has_committed(self, ends: Mapping[TopicPartition, int]) -> bool:
        positions = self._offsets.positions
        if any(positions.get(where, -1) < ends.get(where, 0) for where in self._offsets.owned):
            return False
        own = self._offsets.last_committed
        if any(own.get(where, -1) < ends.get(where, 0) for where in positions) and not self.flush():
            return False
        # What is left belongs to other members of the group. Asking the coordinator at each step would keep
        # it busy.
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + 1.0
        try:
            committed = self._broker.committed(ends)
        except TransientError as error:
            log.warning("committed_unknown error=%s", error)
            return False
        return all(committed.get(where, -1) >= end for where, end in ends.items())

    def _report(self, now: datetime) -> None:
        oldest = self._buffers.oldest
        age = (now - oldest).total_seconds() if oldest else 0.0
        rows, size = self._buffers.rows, self._held_bytes()
        self.metrics.measure(oldest=age, rows=rows, size=size, open_letters=self._letters.open, paused=self._paused)
        if time.monotonic() >= self._next_lag or self.metrics.due(now):
            self._next_lag = time.monotonic() + LAG_SECONDS
            lag = self._broker.lag(self._offsets.positions)
            self.metrics.report(now, lag, oldest=age, rows=rows, size=size, paused=self._paused)


def _nothing() -> None:
    return None


def _names(partitions: Collection[TopicPartition]) -> str:
    return ",".join(f"{topic}-{partition}" for topic, partition in sorted(partitions)) or "none"
