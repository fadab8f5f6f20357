"""A turn over a domain's cold dates: what was left is ended, then the oldest dates with many files get few.

A date's way: a note of what replaces what; the new files, each proven; one compare-and-set of the date's row, with
which the new files count; an hour later, in another turn, the old files go and then the note. Killed anywhere, the next
turn undoes what comes before the compare-and-set, and finishes what comes after it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa

from audit.file_offsets import UnreadableFileError
from maintenance.cold_bronze.grouping import SmallFile, describe, grouped
from maintenance.cold_bronze.merging import NotEqualError, merge
from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.bronze_compaction import (
    HOUR,
    CompactionNote,
    Ending,
    end_compaction,
    forget_note,
    is_swapped,
    note_name,
    open_compactions,
    pointer_name,
    read_note,
    remove_files,
)
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.store import LakeStore
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change, Partition, PartitionMetaStore, StateConflictError
from platform_core.partitions.partition_state import Event, State
from sink.bronze.journal import Journal

log = logging.getLogger(__name__)

FEW_FILES = 8
"""A date with as many is left alone, and so is one that would not lose more than so many."""

DATES_A_TURN = 60
"""The first night of a domain with years of history must end before its dates are due: 1,440 files are some seconds."""

CALLER = "maintenance"


@dataclass
class ColdDates:
    """What a turn found and did.

    Attributes:
        files_before: Files of the cold dates at its beginning, of each date those that count.
        files: And at its end.
        bytes: Of the cold dates at its end.
        removed: Old files that were replaced an hour ago or earlier, and are gone now.
    """

    files_before: int = 0
    files: int = 0
    bytes: int = 0
    removed: int = 0


def compact_cold_dates(
    lake: Lake, domain: Domain, partitions: PartitionMetaStore, clock: Clock, *, dates: int = DATES_A_TURN
) -> ColdDates | None:
    """Give cold dates few files; None when the domain does not ask for it, and nothing was left from when it did.

    No run of the domain should be at work; one that is keeps its dates, because a date that is not DONE is left alone.

    Args:
        dates: How many at most; the others follow in later turns.

    Raises:
        PermanentError: the note of a date cannot be read; the other dates have had their turn.
        TransientError: the store did not answer.
    """
    result = ColdDates()
    unfinished = open_compactions(lake, domain)
    waiting = set()
    spoilt: dict[date, PermanentError] = {}
    for day in unfinished:
        with _alone(day, spoilt):
            ending, removed = end_compaction(lake, domain, day, clock, CALLER, LakeStore(lake).put)
            log.info("compaction_ended domain=%s date=%s as=%s files=%d", domain.name, day, ending, removed)
            if ending is Ending.WAITS:
                waiting.add(day)
            elif ending is Ending.REMOVED:
                result.removed += removed
    cold = _cold(domain, partitions, clock)
    noted = _noted_by_sinks(lake, clock) if cold else frozenset()
    for row in cold:
        day = row.partition_date
        if day in spoilt:
            continue
        with _alone(day, spoilt):
            files = lake.list_date(domain, day)
            after: Sequence[BronzeFile] = files
            if dates > 0 and day not in waiting and _may_be_compacted(row, files, noted):
                compaction = _Compaction(lake, domain, partitions, clock, row)
                if compaction.run(files):
                    dates -= 1
                    after = lake.list_date(domain, day)
            result.files_before += len(files)
            result.files += len(after)
            result.bytes += sum(file.size for file in after)
    for error in spoilt.values():
        raise error  # the first; the next turn names the next
    return result if unfinished or domain.bronze.compact_after_days is not None else None


@contextmanager
def _alone(day: date, spoilt: dict[date, PermanentError]) -> Iterator[None]:
    """Keep what is wrong with one date for after the others."""
    try:
        yield
    except PermanentError as error:
        log.error("cold_date_left date=%s error=%s", day, error)
        spoilt[day] = error


def _cold(domain: Domain, partitions: PartitionMetaStore, clock: Clock) -> list[Partition]:
    """Return the rows of the dates that are old enough and DONE, the oldest first; none if the domain asks for none."""
    age = domain.bronze.compact_after_days
    if age is None:
        return []
    before = clock.now().date() - timedelta(days=age)
    rows = (row for row in partitions.rows(domain.name) if row.status is State.DONE and row.partition_date < before)
    return sorted(rows, key=lambda row: row.partition_date)


def _may_be_compacted(row: Partition, files: Sequence[BronzeFile], noted: Collection[str]) -> bool:
    """Return whether a date has many files, and no other than it was made of: late ones wait for their correction."""
    names = [file.name for file in files]
    return len(names) > FEW_FILES and file_hash(names) == row.file_hash and not set(noted).intersection(names)


def _noted_by_sinks(lake: Lake, clock: Clock) -> frozenset[str]:
    """Return the files by which a sink will recognise records that it reads again."""
    return frozenset(
        name for entry in Journal(LakeStore(lake), lake.sink_journal, clock).others() for name in entry.files
    )


class _Compaction:
    """One date's.

    Args:
        row: The date's, without its files.
    """

    def __init__(
        self, lake: Lake, domain: Domain, partitions: PartitionMetaStore, clock: Clock, row: Partition
    ) -> None:
        self._lake = lake
        self._domain = domain
        self._day = row.partition_date
        self._partitions = partitions
        self._clock = clock
        self._row = row
        self._store = LakeStore(lake)
        self._began = clock.seconds()

    def run(self, files: Sequence[BronzeFile]) -> bool:
        """Replace small files by few, and return whether it came to that.

        Args:
            files: What the date was made of.
        """
        try:
            groups = grouped(describe(self._lake, [file.name for file in files]))
        except (UnreadableFileError, FileNotFoundError) as error:
            self._left(error)
            return False
        if sum(len(group) - 1 for group in groups) <= FEW_FILES:
            return False
        note = self._note(groups)
        pairs = [(group, self._path(name)) for group, name in zip(groups, sorted(note.files), strict=True)]
        if read_note(self._lake, self._domain, self._day) is not None:
            return False  # another turn has come to the date since this one has listed it
        self._store.put(pointer_name(self._lake, self._domain, self._day), pa.py_buffer(b"{}"))
        self._put(note)
        try:
            for group, name in pairs:
                self._require_ours(note)
                merge(self._lake, group, name)
            self._require_ours(note)
            self._swap(files, note)
        except (NotEqualError, UnreadableFileError, FileNotFoundError, StateConflictError, pa.ArrowException) as error:
            self._left(error)
            if not is_swapped(self._lake, self._domain, self._day, note):
                remove_files(self._lake, self._domain, self._day, note.files)
                if read_note(self._lake, self._domain, self._day) == note:
                    forget_note(self._lake, self._domain, self._day)
            return False
        self._put(replace(note, decided=True))
        log.info(
            "bronze_compacted domain=%s date=%s files=%d into=%d",
            *(self._domain.name, self._day, len(note.replaced), len(note.files)),
        )
        return True

    def _note(self, groups: Sequence[Sequence[SmallFile]]) -> CompactionNote:
        attempt = f"{self._clock.now().strftime('%Y%m%dT%H%M%S%fZ')}-{uuid.uuid4().hex[:8]}"
        # Before `part-`, so that a listing of several pages has them and the note in its first.
        names = [f"compacted-{attempt}-{number:05d}.parquet" for number in range(len(groups))]
        replaced = frozenset(file.name.rpartition("/")[2] for group in groups for file in group)
        return CompactionNote(attempt, replaced, frozenset(names))

    def _put(self, note: CompactionNote) -> None:
        self._store.put(note_name(self._lake, self._domain, self._day), pa.py_buffer(note.to_json()))

    def _require_ours(self, note: CompactionNote) -> None:
        """Stop when another turn may take this one for a killed one, or has.

        Raises:
            TransientError: nothing more may be written; the next turn ends what was begun.
        """
        own = read_note(self._lake, self._domain, self._day)
        if own != note:  # what is there now does not name these files, and only this turn could make them count
            remove_files(self._lake, self._domain, self._day, note.files)
        if own != note or self._clock.seconds() - self._began > HOUR.total_seconds() / 2:
            raise TransientError(
                f"Compacting Bronze of domain `{self._domain.name}`, {self._day}, took too long or was ended by another"
                " process. Nothing has changed; the next turn begins again."
            )

    def _swap(self, files: Sequence[BronzeFile], note: CompactionNote) -> None:
        kept = [file.name for file in files if file.base_name not in note.replaced]
        names = tuple(sorted([*kept, *map(self._path, note.files)]))
        self._partitions.apply(
            [
                Change(
                    self._domain.name,
                    self._day,
                    State.DONE,
                    Event.FILES_COMPACTED,
                    made_of=self._row.file_hash,
                    set={"source_files": names, "file_hash": file_hash(names)},
                    detail={"files": len(names), "files_before": len(files)},
                )
            ]
        )

    def _path(self, name: str) -> str:
        return f"{self._lake.bronze_partition(self._domain, self._day)}/{name}"

    def _left(self, error: Exception) -> None:
        log.warning("bronze_not_compacted domain=%s date=%s error=%s", self._domain.name, self._day, error)
