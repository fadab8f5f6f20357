"""One file of Bronze on its way: what it is, and how far it has come.

A file begins as the rows of a sealed buffer and ends when its offsets are committed and the ledger has it. Only what
one file knows of itself belongs here: its bytes are made by `sink.bronze.writer`; who notes, puts and announces it, and
when, is decided by `sink.bronze.files` and `sink.loop`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

import pyarrow as pa

from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.records import TopicPartition
from sink.records.buffer import Buffer, SealReason
from sink.records.rows import Rows


class FileState(StrEnum):
    """How far a file has come.

    The commit and the announcement come in either order. A file is announced after the first commit that follows its
    PUT, also when rows of another date still hold some of its offsets back: what is committed of it must not wait in
    the ledger for the rest.
    """

    SEALED = "sealed"
    """Its rows are complete, and nobody outside this process knows of it."""
    NOTED = "noted"
    """The journal names it; a PUT may have reached the store."""
    PUT = "put"
    """The store has it: its rows hold no offset back any more."""
    COMMITTED = "committed"
    """All its offsets are committed; the ledger has not confirmed it yet."""
    ANNOUNCED = "announced"
    """The ledger has it; some of its offsets are not committed yet."""
    DONE = "done"
    """Committed and announced: the journal may forget it."""
    IN_ANOTHER = "in_another"
    """Its rows were found in an earlier file: there is none of its own."""
    LEFT = "left"
    """Given up with its Kafka partitions: their next owner finds it by the journal, or reads its rows again."""


TRANSITIONS: Mapping[FileState, frozenset[FileState]] = {
    FileState.SEALED: frozenset({FileState.NOTED, FileState.LEFT}),
    # Back to sealed: rows were dropped, so that it is another file with another name.
    FileState.NOTED: frozenset({FileState.SEALED, FileState.PUT, FileState.IN_ANOTHER, FileState.LEFT}),
    FileState.PUT: frozenset({FileState.COMMITTED, FileState.ANNOUNCED, FileState.LEFT}),
    FileState.COMMITTED: frozenset({FileState.DONE, FileState.LEFT}),
    FileState.ANNOUNCED: frozenset({FileState.DONE, FileState.LEFT}),
    FileState.DONE: frozenset(),
    FileState.IN_ANOTHER: frozenset(),
    FileState.LEFT: frozenset(),
}


class IllegalTransitionError(RuntimeError):
    """A file was asked to skip a state or to go back: a defect of the sink."""


class PendingFile:
    """One file and its state.

    Args:
        buffer: Its rows. The file owns them from now on and forgets them when the store has them.
        sealed_by: Why the buffer was closed.

    Attributes:
        state: How far it has come.
        topic: The raw topic.
        day: The partition date.
        opened_at: When its first row came, in seconds of a clock that never steps back.
        sealed_by: Why its buffer was closed.
        name: Path below the lake's root, empty until `named`; the same for each attempt to put it.
        entry: The journal entry that names it, empty until it is noted.
        may_be_in: Files that may hold its rows already, with others: a PUT of them failed or lost its answer before
            some rows were dropped.
        encoded: What the ledger will say of it, and its bytes; kept for the next attempt until the store takes them.
    """

    def __init__(self, buffer: Buffer, sealed_by: SealReason) -> None:
        self._buffer = buffer
        self.state = FileState.SEALED
        self.topic = buffer.topic
        self.day = buffer.day
        self.opened_at = buffer.opened_at
        self.sealed_by = sealed_by
        self.name = ""
        self.entry = ""
        self.may_be_in: list[str] = []
        self.encoded: tuple[LedgerRecord, pa.Buffer] | None = None
        self._written: LedgerRecord | None = None

    @property
    def rows(self) -> Rows:
        """The rows that are not in the store yet."""
        return self._buffer.rows

    @property
    def size(self) -> int:
        """Estimated memory of these rows, bytes."""
        return self._buffer.size

    @property
    def written(self) -> LedgerRecord:
        """What the ledger says of the file that the store has.

        Raises:
            IllegalTransitionError: it does not have the file.
        """
        if self._written is None:
            raise IllegalTransitionError(f"The file `{self.name}` is {self.state}: it is not in the store.")
        return self._written

    def min_pending_offsets(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset that is not in the store: what may not be committed."""
        return self._buffer.min_pending_offsets()

    def named(self, name: str) -> None:
        """Give a sealed file its name.

        Args:
            name: Path below the lake's root.

        Raises:
            IllegalTransitionError: the journal or the store may know it by another name.
        """
        if self.name:
            raise IllegalTransitionError(f"The file `{self.name}` has a name already.")
        self.name = name

    def noted(self, entry: str) -> None:
        """Note that a journal entry names the file."""
        self._become(FileState.NOTED)
        self.entry = entry

    def put(self) -> None:
        """Note that the store has the encoded file, and forget its rows."""
        self._become(FileState.PUT)
        if self.encoded is None:
            raise IllegalTransitionError(f"The file `{self.name}` was not encoded: it cannot be in the store.")
        self._written, self.encoded = self.encoded[0], None
        self._buffer = Buffer(self.topic, self.day, self.opened_at)

    def found_in_another(self) -> None:
        """Note that the rows were found in an earlier file, and forget them: there is no file of this name."""
        self._become(FileState.IN_ANOTHER)
        self.encoded = None
        self._buffer = Buffer(self.topic, self.day, self.opened_at)

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note what is committed; nothing changes while some offset of the file is not.

        Args:
            offsets: The committed offset of each Kafka partition.
        """
        ends = self._written.ends if self._written is not None else {}
        if self.state is not FileState.COMMITTED and all(offsets.get(tp, -1) >= end for tp, end in ends.items()):
            self._become(FileState.DONE if self.state is FileState.ANNOUNCED else FileState.COMMITTED)

    def announced(self) -> None:
        """Note that the ledger has the file."""
        self._become(FileState.DONE if self.state is FileState.COMMITTED else FileState.ANNOUNCED)

    def revoke(self, partitions: Collection[TopicPartition]) -> bool:
        """Leave the rows of Kafka partitions that this process no longer owns to their next owner.

        A file that is not put keeps its other rows, under another name; one that is put is left as a whole, because the
        next owner must find it in the journal.

        Args:
            partitions: Those partitions.

        Returns:
            Whether the file holds records of them.
        """
        if FileState.LEFT not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"The file `{self.name}` is {self.state}: there is nothing left to give up.")
        given_up = {partition for topic, partition in partitions if topic == self.topic}
        if self._written is not None:
            if not given_up & self._written.offsets.keys():
                return False
            self._become(FileState.LEFT)
            return True
        if not self._buffer.drop(given_up):
            return False
        if self.state is FileState.NOTED:
            self.may_be_in.append(self.name)
            self._become(FileState.SEALED if self.rows else FileState.LEFT)
        elif not self.rows:
            self._become(FileState.LEFT)
        self.name = self.entry = ""
        self.encoded = None
        return True

    def _become(self, state: FileState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"The file `{self.name or self.topic}` is {self.state} and cannot be {state}.")
        self.state = state
