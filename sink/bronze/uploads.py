"""Sealed buffers on their way into Bronze: journal first, then the files, several at a time.

A file stays in the journal until its offsets are committed and the ledger has it. What a file contains belongs to
`sink.bronze.writer`, what the journal is for to `sink.bronze.journal`; when to try, and what an outage means for
consuming, is decided by `sink.loop`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from platform_core.errors import TransientError
from platform_kafka.records import TopicPartition
from sink.backoff import Backoff
from sink.bronze.journal import Journal
from sink.bronze.store import Store
from sink.bronze.writer import Writer, WrittenFile
from sink.buffer import Buffer
from sink.metrics import SinkMetrics

log = logging.getLogger(__name__)

# Object stores answer a PUT after 20 to 100 ms; files of several dates go out side by side.
PARALLEL_WRITES = 4


@dataclass
class _Pending:
    ends: dict[TopicPartition, int]
    announced: bool = False

    def is_committed(self, committed: Mapping[TopicPartition, int]) -> bool:
        return all(committed.get(where, -1) >= end for where, end in self.ends.items())


class Uploads:
    """Puts files, and knows whether the store takes them.

    Args:
        writer: Encodes and puts one file.
        journal: Told of each file before it is put.
        store: Asked whether a file exists.
    """

    def __init__(self, writer: Writer, journal: Journal, store: Store, metrics: SinkMetrics) -> None:
        self._writer = writer
        self._journal = journal
        self._store = store
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(PARALLEL_WRITES, "put")
        self._pending: dict[str, _Pending] = {}
        self.backoff = Backoff()

    def put(self, sealed: Sequence[Buffer], now: datetime) -> list[tuple[Buffer, WrittenFile | None]]:
        """Put the files of sealed buffers and return those that the store took; an outage ends the attempt.

        A buffer whose rows are found in an earlier file has no file of its own.
        """
        done: list[tuple[Buffer, WrittenFile | None]] = []
        failure = self._begin(sealed)
        for start in range(0, len(sealed) if failure is None else 0, PARALLEL_WRITES):
            group = sealed[start : start + PARALLEL_WRITES]
            outcomes = self._pool.map(self._attempt, group) if len(group) > 1 else [self._attempt(group[0])]
            for buffer, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, TransientError):
                    failure = outcome
                elif outcome is None:
                    done.append((buffer, None))
                    self._journal.settle(self._writer.name(buffer), self._pool)
                else:
                    done.append((buffer, outcome))
                    ends = {(outcome.topic, p): (ranges.last or 0) + 1 for p, ranges in outcome.offsets.items()}
                    self._pending[outcome.name] = _Pending(ends)
                    self._metrics.wrote(outcome.topic, outcome.rows, outcome.size, buffer.sealed_by or "none")
            if failure is not None:
                break  # each further attempt would wait for the store's timeout, and the group expels who is slow
        self.note(failure, now)
        return done

    def note(self, failure: TransientError | None, now: datetime) -> None:
        """Note how the store answered: None for well."""
        if failure is None:
            self.backoff.succeeded()
            return
        self.backoff.failed(now)
        self._metrics.store_failures.inc()
        log.warning("store_unavailable error=%s", failure)

    def announced(self, file: str) -> None:
        """Note that the ledger has a file."""
        if file in self._pending:
            self._pending[file].announced = True

    def settle(self, committed: Mapping[TopicPartition, int]) -> None:
        """Forget the files that are announced and whose offsets are committed."""
        for name in [name for name, each in self._pending.items() if each.announced and each.is_committed(committed)]:
            del self._pending[name]
            self._journal.settle(name, self._pool)

    def give_up(self, partitions: Collection[TopicPartition], sealed: Sequence[Buffer]) -> None:
        """Leave files of partitions that this process no longer owns to their next owner.

        Args:
            partitions: Those partitions.
            sealed: The buffers that wait for their PUT; a failed one may have been stored all the same.
        """
        gone = set(partitions)
        for name in [name for name, each in self._pending.items() if gone & each.ends.keys()]:
            del self._pending[name]
            self._journal.leave(name)
        for buffer in sealed:
            if any((buffer.topic, partition) in gone for partition in buffer.firsts):
                name = self._writer.name(buffer)
                if name in self._journal:
                    buffer.may_be_in.append(name)
                self._journal.leave(name)

    def close(self, *, wait: bool) -> None:
        """End the threads.

        Args:
            wait: Whether the journal's last entries are removed first.
        """
        self._pool.shutdown(wait=wait, cancel_futures=not wait)

    def _begin(self, sealed: Sequence[Buffer]) -> TransientError | None:
        names = [name for name in map(self._writer.name, sealed) if name not in self._journal]
        if not names:
            return None
        try:
            self._journal.begin(names)
        except TransientError as error:
            return error
        return None

    def _attempt(self, buffer: Buffer) -> WrittenFile | TransientError | None:
        started = time.monotonic()
        try:
            if any(self._store.read(name) is not None for name in buffer.may_be_in):
                return None
            written = self._writer.write(buffer)
        except TransientError as error:
            return error
        self._metrics.put_seconds.observe(time.monotonic() - started)
        return written
