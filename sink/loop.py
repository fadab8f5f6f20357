"""The sink's loop: poll, buffer, write, commit.

What a step is made of lives in the modules around this one; only their order, and what happens when one of
them fails, is decided here. docs/architecture.md has the promise: an offset is committed only when every
record before it is in Bronze or confirmed in a dead-letter topic.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from platform_core.catalog import Domain
from platform_core.clock import Clock
from platform_core.errors import TransientError
from platform_core.settings import Settings
from sink.broker import Broker, Message, Publisher, TopicPartition, kafka_timestamp
from sink.buffer import Buffer, Buffers, Row
from sink.dead_letters import DeadLetters
from sink.decoding import Decoder, Refusal
from sink.ledger import Ledger
from sink.offsets import Offsets, lowest
from sink.writer import Writer, WrittenFile

log = logging.getLogger(__name__)

MAX_POLL_MESSAGES = 1_000
POLL_SECONDS = 0.25

# A stop or a rebalance may use this long to empty the buffers: less than the 30 s that Kubernetes waits
# before it kills, and than the 5 minutes after which the group expels a member.
DRAIN_SECONDS = 20.0

REPORT_SECONDS = 30.0

# Object stores answer a PUT after 20 to 100 ms; files of several dates go out side by side.
PARALLEL_WRITES = 4


class Backoff:
    """Doubling pauses between the attempts of something that fails: 1 s to 30 s."""

    def __init__(self) -> None:
        self._delay = timedelta(0)
        self._next: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether the last attempt failed."""
        return self._next is not None

    def waiting(self, now: datetime) -> bool:
        """Whether the next attempt is not due yet."""
        return self._next is not None and now < self._next

    def failed(self, now: datetime) -> None:
        """Note a failed attempt."""
        self._delay = min(max(self._delay * 2, timedelta(seconds=1)), timedelta(seconds=30))
        self._next = now + self._delay

    def succeeded(self) -> None:
        """Note a successful attempt."""
        self._delay, self._next = timedelta(0), None


class Sink:
    """Consumes the raw topics of some domains and writes them to Bronze.

    Args:
        domains: The domains to consume.
        broker: The consumer.
        publisher: The producer of dead letters and ledger records.
        writer: Writes files.
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
        settings: Settings,
        clock: Clock,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._writer = writer
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
        self._store_backoff = Backoff()
        self._commit_backoff = Backoff()
        self._paused = False
        self._next_look = 0.0
        self._leaving = False
        self._pool = ThreadPoolExecutor(PARALLEL_WRITES, "put")
        self._progress = _Progress(clock.now())

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
        batch = self._broker.consume(MAX_POLL_MESSAGES, POLL_SECONDS)
        now = self._clock.now()
        for message in batch.messages:
            self._take(message, now)
        for where, end in batch.ends.items():
            self._offsets.reached(where, end)
        self._buffers.seal_due(now)
        if self._held_bytes() > self._budget_bytes:
            self._buffers.seal_above(self._budget_bytes - self._letters.size)
        if not self._store_backoff.waiting(now):
            self._write_sealed(now)
        self._letters.pump()
        if not self._commit_backoff.waiting(now):
            self._commit(now)
        self._steer()
        self._report(now)

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
        self._leave()
        return drained

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take over partitions."""
        self._offsets.assign(partitions)
        log.info("partitions_assigned %s", _names(partitions))

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

    def _leave(self) -> None:
        self._leaving = True
        self._broker.close()
        self._pool.shutdown(wait=False)

    def _give_up(self, partitions: Collection[TopicPartition]) -> None:
        gone = set(partitions)
        self._offsets.give_up(gone)
        self._buffers.drop(gone)
        self._letters.drop(gone)

    def _take(self, message: Message, now: datetime) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if not self._offsets.advance((topic, partition), offset):
            return
        value = message.value()
        outcome = self._decoders[topic].decode(message.key(), value, now)
        self._progress.records += 1
        if isinstance(outcome, Refusal):
            self._progress.refused(message, outcome)
            self._letters.send(message, outcome)
            return
        row = Row(partition, offset, kafka_timestamp(message), outcome)
        self._buffers.add(topic, row, len(value or b""), now)

    def _write_sealed(self, now: datetime) -> None:
        sealed = self._buffers.sealed
        failure = None
        for start in range(0, len(sealed), PARALLEL_WRITES):
            group = sealed[start : start + PARALLEL_WRITES]
            outcomes = self._pool.map(self._attempt, group) if len(group) > 1 else [self._attempt(group[0])]
            for buffer, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, TransientError):
                    failure = outcome
                    continue
                self._buffers.written(buffer)
                self._unrecorded.append(outcome)
                self._progress.files += 1
                self._progress.rows += outcome.rows
                log.debug("file_written name=%s rows=%d bytes=%d", outcome.name, outcome.rows, outcome.size)
            if failure is not None:
                break  # each further attempt would wait for the store's timeout, and the group expels who is slow
        if failure is None:
            self._store_backoff.succeeded()
        else:
            self._store_backoff.failed(now)
            log.warning("store_unavailable buffers_waiting=%d error=%s", len(self._buffers.sealed), failure)

    def _attempt(self, buffer: Buffer) -> WrittenFile | TransientError:
        try:
            return self._writer.write(buffer)
        except TransientError as error:
            return error

    def _commit(self, now: datetime) -> None:
        offsets = self._offsets.committable(lowest(self._buffers.floors(), self._letters.floors()))
        if offsets:
            try:
                self._broker.commit(offsets)
            except TransientError as error:
                self._commit_backoff.failed(now)
                log.warning("commit_failed error=%s", error)
                return
            self._offsets.committed(offsets)
        self._commit_backoff.succeeded()
        while self._unrecorded:
            try:
                self._ledger.add(self._unrecorded[0])
            except TransientError:
                return  # the queue is full; the next step goes on here
            self._unrecorded.popleft()

    def _steer(self) -> None:
        blocked = self._store_backoff.active or self._held_bytes() > self._budget_bytes
        if blocked and not self._paused:
            log.warning("paused buffered_bytes=%d store_failing=%s", self._held_bytes(), self._store_backoff.active)
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
        seconds = (now - self._progress.since).total_seconds()
        if seconds < REPORT_SECONDS:
            return
        oldest = self._buffers.oldest
        log.info(
            "sink_progress records_per_second=%.0f lag=%d buffered_records=%d buffered_bytes=%d"
            " oldest_unflushed_seconds=%.0f files=%d rows_written=%d refused=%d open_dead_letters=%d paused=%s",
            self._progress.records / seconds,
            self._broker.lag(self._offsets.positions),
            self._buffers.rows,
            self._held_bytes(),
            (now - oldest).total_seconds() if oldest else 0.0,
            self._progress.files,
            self._progress.rows,
            sum(self._progress.refusals.values()),
            self._letters.open,
            self._paused,
        )
        self._progress = _Progress(now)


class _Progress:
    """What happened since the last report."""

    LOGGED_REFUSALS = 10

    def __init__(self, since: datetime) -> None:
        self.since = since
        self.records = 0
        self.files = 0
        self.rows = 0
        self.refusals: dict[str, int] = {}

    def refused(self, message: Message, refusal: Refusal) -> None:
        """Count a refusal; the first few of each reason are also logged, a flood of them is not."""
        count = self.refusals[refusal.reason] = self.refusals.get(refusal.reason, 0) + 1
        if count <= self.LOGGED_REFUSALS:
            log.warning(
                "record_refused topic=%s partition=%d offset=%d reason=%s error=%s",
                message.topic(),
                message.partition(),
                message.offset(),
                refusal.reason,
                refusal.message,
            )


def _names(partitions: Collection[TopicPartition]) -> str:
    return ",".join(f"{topic}-{partition}" for topic, partition in sorted(partitions)) or "none"
