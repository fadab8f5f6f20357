"""The sink's loop: poll, buffer, write, commit.

What a step is made of lives in the modules around this one; only their order, and what happens when one of
them fails, is decided here. docs/architecture.md has the promise: an offset is committed only when every
record before it is in Bronze or confirmed in a dead-letter topic.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.store import Store
from platform_core.settings import Settings
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topics import PROCESSED_EVENTS, dlq_name
from sink.bronze.files import PendingFiles
from sink.bronze.journal import Journal
from sink.bronze.ledger import Ledger
from sink.bronze.recovery import Recovery
from sink.bronze.writer import Writer
from sink.consuming.broker import Broker, Publisher
from sink.consuming.commits import Commits
from sink.consuming.incarnations import Run, incarnations, runs_of
from sink.consuming.membership import Membership
from sink.consuming.offsets import Offsets, lowest
from sink.consuming.unusable_topics import UnusableTopics
from sink.records.batch_decoding import BatchDecoder
from sink.records.buffer import Buffers
from sink.refusals.dead_letters import DeadLetters
from sink.refusals.paused_topics import PausedTopics
from sink.refusals.refusal_limit import WINDOW_RECORDS, RefusalLimit
from sink.watching.alerts import SinkAlerts
from sink.watching.flush_requests import FlushRequests
from sink.watching.metrics import SinkMetrics

log = logging.getLogger(__name__)

# A backlog fills four files of the default size, which share a journal entry and a commit: a fifth less CPU than with
# one file a poll.
MAX_POLL_MESSAGES = 4_000
POLL_SECONDS = 0.25

# A stop or a rebalance may use this long to empty the buffers: less than the 30 s that Kubernetes waits
# before it kills, and than the 5 minutes after which the group expels a member.
DRAIN_SECONDS = 20.0


class Sink:
    """Consumes the raw topics of some domains and writes them to Bronze.

    Args:
        domains: The domains to consume.
        publisher: The producer of dead letters and ledger records.
        store: Holds the files and the journal.
        settings: Flush size and interval, limits, where the lake is.
        clock: Decides the age of a buffer, and what is dated too far ahead.

    Attributes:
        drain_seconds: How long a stop or a rebalance may try to empty the buffers.
        metrics: What it counts.
        paused_topics: The topics of which too much was refused.
        unusable_topics: The topics that do not exist, or that it may not use.
    """

    def __init__(
        self,
        domains: Collection[Domain],
        broker: Broker,
        publisher: Publisher,
        store: Store,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self.drain_seconds = DRAIN_SECONDS
        self.metrics = SinkMetrics(clock.seconds(), settings.sink_flush_interval_seconds)
        self._broker = broker
        self._publisher = publisher
        self._clock = clock
        self._budget_bytes = settings.sink_max_buffered_bytes
        future = timedelta(hours=settings.sink_max_future_hours)
        self._decoders = {d.topic.name: BatchDecoder(d, settings.sink_max_record_bytes, future) for d in domains}
        self._limit = RefusalLimit(settings.sink_max_refused_ratio)
        self._dead_letters = DeadLetters(publisher, domains)
        self._ledger = Ledger(publisher)
        self._offsets = Offsets()
        alerts = SinkAlerts(publisher, clock)
        self.paused_topics = PausedTopics(broker, alerts, self.metrics, domains)
        self.unusable_topics = UnusableTopics(alerts, domains)
        self._dlq_names = {domain.topic.name: dlq_name(domain) for domain in domains}
        self._blocked: set[str] = set()
        self._commits = Commits(broker, self._offsets, self.metrics)
        self._membership = Membership(broker, self._offsets)
        lake = Lake(settings)
        journal = Journal(store, lake.sink_journal, clock)
        self._recovery = Recovery(journal, store, self._decoders, self.metrics, clock.now)
        self._files = PendingFiles(Writer(lake, domains, clock), journal, store, self.metrics)
        self._buffers = Buffers(settings.sink_flush_buffer_size, settings.sink_flush_interval_seconds, self._files.add)
        self._flush_requests = FlushRequests()
        self._stepped_at = time.monotonic()
        self._paused = False
        self._leaving = False

    def run(self, stopping: Callable[[], bool], until: Mapping[TopicPartition, int] | None = None) -> bool:
        """Consume until asked to stop, then write and commit what is buffered, and leave the group.

        Args:
            stopping: Asked after each step.
            until: End offsets; the run also ends when the group has committed them.

        Returns:
            Whether everything that was read is committed. If not, it is read again after the next start.

        Raises:
            PermanentError: the user may not read the group, or with `until` a topic was not read to its end.
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
        drained = self.close()
        problems = self.paused_topics.problems | self.unusable_topics.problems
        if until is not None and problems:
            raise PermanentError(" ".join(problems.values()))
        return drained

    def step(self) -> None:
        """Do one turn of the loop.

        Raises:
            PermanentError: the user may not read the group.
            TransientError: a client cannot go on.
        """
        batch = self._broker.consume(MAX_POLL_MESSAGES, POLL_SECONDS)
        now = self._clock.seconds()
        if self._recovery.pending and not self._files.backoff.waiting(now):
            self._recover(now)
        for start in range(0, len(batch.messages), WINDOW_RECORDS):  # so that the limit judges each of them
            self._take_all(batch.messages[start : start + WINDOW_RECORDS], now)
        for tp, end in batch.ends.items():
            if tp[0] not in self.paused_topics:  # what was skipped lies before the end
                self._offsets.reached(tp, end)
        self._buffers.seal_due(now)
        if self._held_bytes() > self._budget_bytes:
            self._buffers.seal_above(self._budget_bytes - self._dead_letters.size)
        self._membership.certain()  # also while an outage keeps it from writing: else that reads as a standstill
        if not self._files.backoff.waiting(now):
            self._write_sealed(now)
        self._dead_letters.pump(now)
        self._mind_unusable_topics(batch.unusable)
        if not self._commits.backoff.waiting(now):
            self._commit(now)
        self._flush_requests.answer(self.flush, self._held_rows)
        self._steer()
        self._report(now)
        self._stepped_at = time.monotonic()

    def flush(self) -> bool:
        """Write all buffers, wait for the dead letters and commit, for at most the drain time.

        Returns:
            Whether everything that was read is committed.
        """
        deadline = time.monotonic() + self.drain_seconds
        while True:
            now = self._clock.seconds()
            self._buffers.seal_all()
            # The store's own timeout, with its retries, is longer than what Kubernetes waits before it kills.
            self._write_sealed(now, max(1.0, deadline - time.monotonic()))
            remaining = max(0.0, deadline - time.monotonic())
            self._dead_letters.pump(now)
            if self._dead_letters.sendable or self._files.unannounced:
                self._publisher.flush(min(remaining, 1.0))
            self._commit(now)
            if not (self._held_rows() or self._dead_letters.sendable or self._commits.backoff.active):
                with contextlib.suppress(TransientError):
                    self._recovery.announce(self._ledger, self._broker, now=True)
                self._publisher.flush(max(0.0, deadline - time.monotonic()))
                self._files.note_committed(self._offsets.last_committed)
                return not self._dead_letters.open
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
        return self._flush_requests.ask(timeout_seconds)

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last step ended; a loop that hangs is seen by it."""
        return time.monotonic() - self._stepped_at

    @property
    def store_failing_since(self) -> float | None:
        """Since which second of the clock the store takes nothing; None if it does."""
        return self._files.backoff.since

    @property
    def commits_failing_since(self) -> float | None:
        """Since which second of the clock Kafka takes no commit; None if it does."""
        return self._commits.backoff.since

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take over partitions; they are read once it is known what Bronze has of them."""
        self._offsets.assign(partitions)
        log.info("partitions_assigned %s", _names(partitions))
        for topic in {topic for topic, _ in partitions}:
            self.unusable_topics.note(topic, None)
        self._recovery.assign(partitions)
        self._recover(self._clock.seconds())
        self._steer()

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Write and commit everything while the partitions are still owned, then give them up."""
        drained = not self._held_rows() if self._leaving else self.flush()
        log.log(
            logging.INFO if drained else logging.WARNING,
            "partitions_revoked drained=%s rows_left=%d %s",
            drained,
            self._held_rows(),
            _names(partitions),
        )
        self._revoke(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions up without a commit: their new owner reads the buffered records again."""
        log.warning("partitions_lost rows_dropped=%d %s", self._held_rows(), _names(partitions))
        self._revoke(partitions)

    def _leave(self, *, wait: bool = False) -> None:
        self._leaving = True
        self._broker.close()
        self._files.close(wait=wait)

    def _revoke(self, partitions: Collection[TopicPartition]) -> None:
        self._files.revoke(partitions)
        self._buffers.revoke(partitions)
        self._dead_letters.drop(partitions)
        self._offsets.revoke(partitions)
        self._recovery.revoke(partitions)

    def _recover(self, now: float) -> None:
        try:
            self._recovery.look()
        except TransientError as error:
            self._files.store_answered(error, now)
        else:
            self._files.store_answered(None, now)

    def _take_all(self, messages: Sequence[Message], now: float) -> None:
        by_topic: dict[str, list[Run]] = {}
        for run in runs_of(messages):
            if run.tp[0] not in self.paused_topics and run.tp in self._offsets.owned:
                by_topic.setdefault(run.tp[0], []).append(run)
        wall = self._clock.now()
        for topic, runs in by_topic.items():
            first, *recreated = incarnations(runs, self._offsets.positions)
            self._take(topic, first, wall, now)
            for part in recreated:
                self._buffers.seal_topic(topic)  # its date would refuse a file that has an offset twice
                self._take(topic, part, wall, now)

    def _take(self, topic: str, runs: Sequence[Run], wall: datetime, now: float) -> None:
        """Take messages of one topic, each run of one Kafka partition; none if too many of them are refused."""
        if topic in self.paused_topics:
            return
        messages = [message for run in runs for message in run.messages]
        unknown = self._recovery.unknown(messages)
        decoded = self._decoders[topic].decode(unknown, wall)
        reasons = [None] * (len(messages) - len(unknown)) + decoded.reasons
        if (problem := self._limit.exceeded(topic, reasons)) is not None:
            self.paused_topics.add(topic, problem)
            return
        size = decoded.size if unknown is messages else sum(len(message.value() or b"") for message in messages)
        self.metrics.took(topic, len(messages), size)
        for run in runs:
            self._offsets.advance(run.tp, run.offsets[0], run.offsets[-1])
        for message, refusal in decoded.refused:
            self.metrics.refuse(message, refusal)
            self._dead_letters.send(message, refusal)
        for day, rows in decoded.by_day.items():
            self._buffers.add(topic, day, rows, now)

    def _write_sealed(self, now: float, seconds: float | None = None) -> None:
        # What is written although the group has given the partitions to another one is stored twice.
        if not self._recovery.pending and self._membership.confirmed(self._min_pending_offsets()):
            self._files.put(now, seconds, self._membership.certain)

    def _commit(self, now: float) -> None:
        if not self._commits.commit(self._min_pending_offsets(), now):
            return
        # The queue may be full; the next step goes on where this one ended.
        with contextlib.suppress(TransientError):
            self._files.announce(self._ledger)
            self._recovery.announce(self._ledger, self._broker)
            self._ledger.retry(now)
        self._files.note_committed(self._offsets.last_committed)

    def _mind_unusable_topics(self, unreadable: Mapping[str, str]) -> None:
        """Leave a topic alone while its dead letters are not taken; say which topics cannot be used."""
        for topic, problem in unreadable.items():
            self.unusable_topics.note(topic, problem)
        self.unusable_topics.note(PROCESSED_EVENTS, self._ledger.problem)
        blocked = self._dead_letters.blocked
        for topic in self._blocked ^ blocked.keys():
            self.unusable_topics.note(self._dlq_names[topic], blocked.get(topic))
            if topic in self.paused_topics:
                continue
            self.metrics.topic_paused.labels(topic).set(topic in blocked)
            (self._broker.pause_topic if topic in blocked else self._broker.resume_topic)(topic)
        self._blocked = set(blocked)

    def _steer(self) -> None:
        failing = self._files.backoff.active
        blocked = failing or self._recovery.pending or self._held_bytes() > self._budget_bytes
        if blocked and not self._paused:
            log.warning("paused buffered_bytes=%d store_failing=%s", self._held_bytes(), failing)
            self._broker.pause()
        elif self._paused and not blocked:
            log.info("resumed")
            self._broker.resume()
        self._paused = blocked

    def _min_pending_offsets(self) -> dict[TopicPartition, int]:
        return lowest(
            self._buffers.min_pending_offsets(),
            self._files.min_pending_offsets(),
            self._dead_letters.min_pending_offsets(),
        )

    def _held_rows(self) -> int:
        return self._buffers.rows + self._files.rows

    def _held_bytes(self) -> int:
        return self._buffers.size + self._files.size + self._dead_letters.size

    def _has_committed(self, ends: Mapping[TopicPartition, int]) -> bool:
        unread = {*self.paused_topics.problems, *self.unusable_topics.problems, *self._blocked}
        ends = {tp: end for tp, end in ends.items() if tp[0] not in unread}
        positions = self._offsets.positions
        if any(positions.get(tp, -1) < end for tp, end in ends.items() if tp in self._offsets.owned):
            return False
        own = self._offsets.last_committed
        if any(own.get(tp, -1) < ends.get(tp, 0) for tp in positions) and not self.flush():
            return False
        # What is left belongs to other members of the group.
        return self._commits.group_has(ends)

    def _report(self, now: float) -> None:
        oldest = min((at for at in (self._buffers.oldest, self._files.oldest) if at is not None), default=now)
        self.metrics.measure(
            oldest=now - oldest,
            rows=self._held_rows(),
            size=self._held_bytes(),
            open_dead_letters=self._dead_letters.open,
            paused=self._paused,
        )
        self.metrics.report(now, lambda: self._broker.lag(self._offsets.positions))


def _names(partitions: Collection[TopicPartition]) -> str:
    return ",".join(f"{topic}-{partition}" for topic, partition in sorted(partitions)) or "none"
