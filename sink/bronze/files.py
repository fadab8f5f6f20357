"""The files that are on their way into Bronze: journal first, then the PUTs, several at a time, then the ledger.

The collection moves its files from state to state and says what they hold back; a file's own rules are in
`sink.bronze.file`, its bytes in `sink.bronze.writer`, what the journal is for in `sink.bronze.journal`. When to try,
and what an outage means for consuming, is decided by `sink.loop`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pyarrow as pa

from platform_core.errors import TransientError
from platform_core.lake.store import Store
from platform_kafka.records import TopicPartition
from sink.backoff import Backoff
from sink.bronze.file import FileState, PendingFile
from sink.bronze.journal import Journal
from sink.bronze.ledger import Ledger
from sink.bronze.writer import Writer
from sink.consuming.offsets import lowest
from sink.records.buffer import Buffer, SealReason
from sink.watching.metrics import SinkMetrics

log = logging.getLogger(__name__)

T = TypeVar("T")

# Object stores answer a PUT after 20 to 100 ms; files of several dates go out side by side.
PARALLEL_WRITES = 4


class PendingFiles:
    """All files that are not done yet, and whether the store takes them.

    Args:
        writer: Names and encodes a file.
        journal: Told of each file before it is put.
        store: Takes the files.
        metrics: Counts.
    """

    def __init__(self, writer: Writer, journal: Journal, store: Store, metrics: SinkMetrics) -> None:
        self._writer = writer
        self._journal = journal
        self._store = store
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(PARALLEL_WRITES, "put")
        self._waiting: list[PendingFile] = []  # sealed or noted
        self._stored: list[PendingFile] = []  # put, committed or announced
        self._unannounced: deque[PendingFile] = deque()
        self.backoff = Backoff()

    @property
    def waiting(self) -> list[PendingFile]:
        """The files that wait for their PUT, the oldest first."""
        return list(self._waiting)

    @property
    def rows(self) -> int:
        """Number of rows that wait."""
        return sum(len(file.rows) for file in self._waiting)

    @property
    def size(self) -> int:
        """Estimated memory of these rows, bytes."""
        return sum(file.size for file in self._waiting)

    @property
    def oldest(self) -> float | None:
        """When the oldest waiting row came."""
        return min((file.opened_at for file in self._waiting), default=None)

    @property
    def unannounced(self) -> int:
        """Number of stored files whose ledger record is not sent yet."""
        return len(self._unannounced)

    def min_pending_offsets(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset that is not in the store."""
        return lowest(*(file.min_pending_offsets() for file in self._waiting))

    def add(self, buffer: Buffer, sealed_by: SealReason) -> None:
        """Make a file of a buffer that was sealed."""
        self._waiting.append(PendingFile(buffer, sealed_by))

    def put(self, now: float, seconds: float | None = None, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Note and put the waiting files; an outage ends the attempt, and they go on waiting.

        Args:
            now: Seconds of a clock that never steps back.
            seconds: How long to wait for the store; by default until its own timeout. A PUT that is not answered by
                then counts as failed, and may still be stored.
            may_go_on: Asked before each `PARALLEL_WRITES` files; False ends the attempt, too.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        failure = self._note(self._waiting, deadline)
        attempts = self.waiting if failure is None else []
        for start in range(0, len(attempts), PARALLEL_WRITES):
            if not may_go_on():
                return
            group = attempts[start : start + PARALLEL_WRITES]
            # Encoded here, one after the other: threads that share the interpreter would take a tenth more CPU.
            futures = [
                self._pool.submit(self._attempt, file.name, self._encoded(file), tuple(file.may_be_in))
                for file in group
            ]
            for file, future in zip(group, futures, strict=True):
                outcome = _outcome(future, deadline)
                if isinstance(outcome, TransientError):
                    failure = outcome
                else:
                    self._taken(file, in_another=outcome)
            if failure is not None:
                break  # each further attempt would wait for the store's timeout, and the group expels who is slow
        self.store_answered(failure, now)

    def store_answered(self, failure: TransientError | None, now: float) -> None:
        """Note how the store answered: None for well."""
        if failure is None:
            self.backoff.succeeded()
            return
        self.backoff.failed(now)
        self._metrics.store_failures.inc()
        log.warning("store_unavailable error=%s", failure)

    def announce(self, ledger: Ledger) -> None:
        """Send the ledger records of the files that were put since.

        Raises:
            TransientError: the queue to Kafka is full; the next call goes on here.
        """
        while self._unannounced:
            file = self._unannounced[0]
            ledger.add(file.written, partial(self._announced, file))
            self._unannounced.popleft()

    def note_committed(self, committed: Mapping[TopicPartition, int]) -> None:
        """Forget the files that are announced and whose offsets are committed.

        Args:
            committed: What this process has committed.
        """
        for file in self._stored:
            if file.state is not FileState.DONE:
                file.committed(committed)
        done = [file for file in self._stored if file.state is FileState.DONE]
        self._stored = [file for file in self._stored if file.state is not FileState.DONE]
        for file in done:
            self._journal.finish(file.entry, file.name, self._pool)

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Leave what belongs to partitions that this process no longer owns to their next owner."""
        # The ledger may confirm a committed file inside a poll: it is done, and only the journal has to forget it.
        unfinished = [file for file in self._stored if file.state is not FileState.DONE]
        for file in [*self._waiting, *unfinished]:
            entry = file.entry
            if file.revoke(partitions):
                self._journal.leave(entry)
        self._waiting = [file for file in self._waiting if file.state is not FileState.LEFT]
        self._stored = [file for file in self._stored if file.state is not FileState.LEFT]

    def close(self, *, wait: bool) -> None:
        """End the threads.

        Args:
            wait: Whether the journal's last entries are removed first.
        """
        self._pool.shutdown(wait=wait, cancel_futures=not wait)

    def _note(self, files: Collection[PendingFile], deadline: float | None) -> TransientError | None:
        sealed = [file for file in files if file.state is FileState.SEALED]
        if not sealed:
            return None
        for file in sealed:
            if not file.name:
                file.named(self._writer.new_name(file))
        entry = _outcome(self._pool.submit(self._journal.begin, [file.name for file in sealed]), deadline)
        if isinstance(entry, TransientError):
            return entry
        for file in sealed:
            file.noted(entry)
        return None

    def _encoded(self, file: PendingFile) -> pa.Buffer:
        if file.encoded is None:
            file.encoded = self._writer.encode(file, file.name)
        return file.encoded[1]

    def _attempt(self, name: str, data: pa.Buffer, may_be_in: Collection[str]) -> bool:
        """Put one file, in a thread of the pool, and return whether its rows were found in an earlier one."""
        started = time.monotonic()
        if any(self._store.read(earlier) is not None for earlier in may_be_in):
            return True
        self._store.put(name, data)
        self._metrics.put_seconds.observe(time.monotonic() - started)
        return False

    def _taken(self, file: PendingFile, *, in_another: bool) -> None:
        self._waiting.remove(file)
        if in_another:
            file.found_in_another()  # the owner of the other rows announces their common file
            self._journal.finish(file.entry, file.name, self._pool)
            return
        file.put()
        self._stored.append(file)
        self._unannounced.append(file)
        written = file.written
        self._metrics.wrote(written.topic, written.rows, written.size, file.sealed_by)
        log.debug("file_written name=%s rows=%d bytes=%d", written.file, written.rows, written.size)

    def _announced(self, file: PendingFile) -> None:
        # A file that was left meanwhile is announced a second time, by its next owner, who says so.
        if file.state is not FileState.LEFT:
            file.announced()


def _outcome(future: Future[T], deadline: float | None) -> T | TransientError:
    """The result, or why there is none; what has no answer by the deadline goes on in its thread."""
    try:
        return future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return TransientError("The store has not answered yet.")
    except TransientError as error:
        return error
