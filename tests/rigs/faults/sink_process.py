"""The sink as the fault suite runs it: `python sink_process.py MUTANT [sink's arguments]`; "" is the sink itself.

A killed member leaves its group after 2 s instead of 10, which is all that differs from `python -m sink`. A mutant is
a way in which sinks in the wild lose or double records; the suite must catch each of them.
"""

from __future__ import annotations

import contextlib
import sys

import sink.consuming.kafka
from platform_core.errors import TransientError
from platform_core.lake.store import LakeStore
from platform_kafka.formats.refusal_reason import RefusalReason
from sink.__main__ import main
from sink.bronze.files import PendingFiles
from sink.bronze.recovery import Recovery
from sink.consuming.offsets import Offsets
from sink.loop import Sink
from sink.records.buffer import Buffers
from sink.records.decoding import Refusal

sink.consuming.kafka.SESSION_TIMEOUT_MS = 2_000


def commit_before_put() -> None:
    """What is in memory counts as safe."""
    Buffers.min_pending_offsets = lambda self: {}
    PendingFiles.min_pending_offsets = lambda self: {}


def commit_last_offset() -> None:
    """As soon as any file is written, everything that was read is committed."""
    of_buffers, of_files, taken = Buffers.min_pending_offsets, PendingFiles.min_pending_offsets, PendingFiles._taken
    written: list[str] = []

    def note(self, file, *, in_another):
        taken(self, file, in_another=in_another)
        written.append(file.name)

    def forget(self):
        pending = {} if written else of_files(self)
        written.clear()
        return pending

    PendingFiles._taken = note
    Buffers.min_pending_offsets = lambda self: {} if written else of_buffers(self)
    PendingFiles.min_pending_offsets = forget  # the loop asks it after the buffers


def commit_before_the_answer() -> None:
    """A PUT counts as stored whatever becomes of it."""
    put = LakeStore.put

    def unasked(self, name, data):
        with contextlib.suppress(TransientError):
            put(self, name, data)

    LakeStore.put = unasked


def forget_what_is_stored() -> None:
    """A restarted sink knows nothing of the files that its predecessor put."""
    Recovery.holds = lambda self, message: False


def dead_letters_on_outage() -> None:
    """A store that does not answer is taken for bad records."""
    write = Sink._write_sealed

    class AsMessage:
        def __init__(self, topic, partition, offset, key):
            self._topic, self._partition, self._offset, self._key = topic, partition, offset, key

        topic = lambda self: self._topic  # noqa: E731
        partition = lambda self: self._partition  # noqa: E731
        offset = lambda self: self._offset  # noqa: E731
        key = lambda self: self._key.encode()  # noqa: E731
        value = lambda self: b"{}"  # noqa: E731
        timestamp = lambda self: (0, 0)  # noqa: E731
        headers = lambda self: None  # noqa: E731

    def divert(self, now, seconds=None):
        write(self, now, seconds)
        if self._files.backoff.active:
            for file in self._files.waiting:
                rows = file.rows
                for origin in zip(rows.partitions, rows.offsets, rows.keys, strict=True):
                    self._dead_letters.send(
                        AsMessage(file.topic, *origin), Refusal(RefusalReason.MALFORMED_JSON, "the store failed")
                    )
                self._files._waiting.remove(file)

    Sink._write_sealed = divert


def commit_without_flush_on_revoke() -> None:
    """A rebalance commits the position and drops the buffers."""

    def revoked(self, partitions):
        self._broker.commit({w: p for w, p in self._offsets.positions.items() if w in set(partitions)})
        self._revoke(partitions)

    Sink.revoked = revoked

    def close(self):
        self._leave()
        return True

    Sink.close = close


def commit_beyond_dates() -> None:
    """Only the date that was written last holds the offset back."""
    pending = Buffers.min_pending_offsets

    def last_only(self):
        everything = self._open
        self._open = dict(list(everything.items())[-1:])
        try:
            return pending(self)
        finally:
            self._open = everything

    Buffers.min_pending_offsets = last_only


def never_commit() -> None:
    """A stop leaves everything to be read again."""
    Offsets.committable = lambda self, floors: {}
    Recovery.holds = lambda self, message: False


if __name__ == "__main__":
    mutant = sys.argv[1]
    if mutant:
        globals()[mutant]()
    sys.exit(main(sys.argv[2:]))
