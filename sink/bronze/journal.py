"""The journal: which files the sink was about to put, kept in the store until their offsets are committed.

A process that is killed between a PUT and its commit leaves its entry behind, and the partitions' next owner learns
from it which records Bronze has already (`sink.bronze.recovery`). An entry is written before the first PUT that it
names and removed after the last of its files is in the ledger; docs/architecture.md says what remains possible.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from platform_core.clock import Clock
from platform_core.errors import TransientError
from platform_core.lake.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JournalEntry:
    """What one process was about to put.

    Attributes:
        name: The entry's own path below the lake's root.
        written_at: When it was written, UTC.
        files: Paths of the files below the lake's root.
    """

    name: str
    written_at: datetime
    files: tuple[str, ...]


class Journal:
    """Writes this process's entries and reads everybody's.

    Args:
        store: Holds the entries.
        folder: Where, below the lake's root.
    """

    def __init__(self, store: Store, folder: str, clock: Clock) -> None:
        self._store = store
        self._folder = folder
        self._clock = clock
        self._open: dict[str, set[str]] = {}  # this process's entries, to those of their files that are not done

    def begin(self, files: Collection[str]) -> str:
        """Note files that are about to be put.

        Returns:
            The entry's name.

        Raises:
            TransientError: the store did not take the entry; none of the files may be put.
        """
        now = self._clock.now()
        name = f"{self._folder}/{now.strftime('%Y%m%dT%H%M%S%fZ')}-{uuid.uuid4().hex[:8]}.json"
        text = json.dumps({"written_at": now.isoformat(), "files": sorted(files)})
        self._store.put(name, pa.py_buffer(text.encode()))
        self._open[name] = set(files)
        return name

    def finish(self, entry: str, file: str, executor: Executor) -> None:
        """Forget a file that is committed and announced, or that will never be put.

        Args:
            entry: The entry that names it; one that was left is not this process's any more.
            executor: Removes the entry, when this was its last file.
        """
        if entry not in self._open:
            return
        self._open[entry].discard(file)
        if not self._open[entry]:
            del self._open[entry]
            executor.submit(self.remove, entry)

    def leave(self, entry: str) -> None:
        """Hand an entry to whoever owns the partitions next: whether its files were put is not known."""
        self._open.pop(entry, None)

    def others(self) -> list[JournalEntry]:
        """Return the entries that are not this process's, the oldest first: of the dead, and of live group members.

        Raises:
            TransientError: the store did not answer.
        """
        entries = []
        for name in self._store.list(self._folder):
            if name in self._open or (data := self._store.read(name)) is None:
                continue
            try:
                document = json.loads(data.to_pybytes())
                written_at = datetime.fromisoformat(document["written_at"])
                entries.append(JournalEntry(name, written_at, tuple(str(file) for file in document["files"])))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("journal_entry_unreadable name=%s error=%r", name, error)
        return entries

    def remove(self, name: str) -> None:
        """Remove an entry; one that stays is removed at a later assignment."""
        try:
            self._store.delete(name)
        except TransientError as error:
            log.warning("journal_entry_stays name=%s error=%s", name, error)
