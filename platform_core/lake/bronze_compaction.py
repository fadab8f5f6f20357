"""A date of Bronze whose small files are being replaced by few: which files count meanwhile, and how it ends.

While both are there, a note in the date's folder names them, and the date's row of partition_meta decides between them:
the new files count as soon as the row names one, the old ones until then. So there is one moment at which the date
changes, whatever is killed when. Making the new files belongs to `maintenance.cold_bronze`; at rest there is no note,
and a new file is a Bronze file like any other.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Self

import pyarrow as pa
import pyarrow.fs as pafs

from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.lake_errors import TRY_AGAIN, answering
from platform_core.lake.store_clock import by_our_clock

log = logging.getLogger(__name__)

HOUR = timedelta(hours=1)
"""Replaced files stay so long, for who has listed them and reads them still; and a compaction that has not decided for
so long is a killed one."""

PARALLEL_DELETES = 8


@dataclass(frozen=True)
class CompactionNote:
    """What replaces what in a date's folder.

    Attributes:
        compaction_id: Of the attempt.
        replaced: Names of the old files, without the folder.
        files: Names of the new files, without the folder.
        decided: Whether the date's row was seen to name the new files; it need not be asked any more.
    """

    compaction_id: str
    replaced: frozenset[str]
    files: frozenset[str]
    decided: bool = False

    def to_json(self) -> bytes:
        """Return the note as the store has it."""
        lists = {"replaced": sorted(self.replaced), "files": sorted(self.files)}
        return json.dumps({"compaction_id": self.compaction_id, "decided": self.decided, **lists}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            note = json.loads(text)
            lists = frozenset(map(str, note["replaced"])), frozenset(map(str, note["files"]))
            return cls(str(note["compaction_id"]), *lists, note["decided"] is True)
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError("it is no note of a compaction") from error


class UnreadableNoteError(PermanentError):
    """Somebody has changed a date's note: nobody knows which of the date's files count. No other date is concerned."""


class Ending(StrEnum):
    """What became of a compaction that had not ended."""

    WAITS = "waits"
    """It may be under way, or somebody may still read the old files."""
    UNDONE = "undone"
    """The old files count: the new ones were removed."""
    REMOVED = "removed"
    """The new files count: the old ones were removed."""


def note_name(lake: Lake, domain: Domain, day: date) -> str:
    """Return the path of a date's note below the lake's root."""
    return f"{lake.bronze_partition(domain, day)}/{Lake.compaction_note}"


def pointer_name(lake: Lake, domain: Domain, day: date) -> str:
    """Return the path of the empty object by which the notes of all dates are known without listing them."""
    return f"{lake.bronze_compactions}/{domain.name}-{day.isoformat()}.json"


def read_note(lake: Lake, domain: Domain, day: date) -> CompactionNote | None:
    """Return a date's note, None if there is none.

    Raises:
        UnreadableNoteError: somebody has changed it, so that nobody knows which files count.
        TransientError: the store did not answer.
    """
    name = note_name(lake, domain, day)
    try:
        with lake.filesystem.open_input_file(lake.path(name)) as file:
            return CompactionNote.from_json(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TransientError(f"Reading `{lake.uri(name)}` failed: {error}. Try again.") from error
    except ValueError as error:
        raise UnreadableNoteError(
            f"`{lake.uri(name)}` cannot be read: {error}. It says which files of the date count. Restore it from the"
            " store's versions. If there is none, remove it: all files of the folder count then, the date is corrected,"
            " and Silver keeps one row of an offset that two of them have."
        ) from error


def is_swapped(lake: Lake, domain: Domain, day: date, note: CompactionNote) -> bool:
    """Return whether the new files count.

    Raises:
        TransientError: partition_meta did not answer.
    """
    if note.decided:
        return True
    from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta  # it stands on the lake

    row = DeltaPartitionMeta(lake).get(domain.name, day)
    return row is not None and any(name.rpartition("/")[2] in note.files for name in row.source_files)


def counting(
    lake: Lake, domain: Domain, day: date, files: Sequence[BronzeFile]
) -> tuple[list[BronzeFile], bool] | None:
    """Return the files of a folder with a note that count, and whether all are there that do; None without a note.

    Args:
        files: All files of the folder.

    Raises:
        TransientError: the store did not answer.
    """
    note = read_note(lake, domain, day)
    if note is None:
        return None
    swapped = is_swapped(lake, domain, day, note)
    hidden = note.replaced if swapped else note.files
    names = {file.base_name for file in files}
    return [file for file in files if file.base_name not in hidden], not swapped or note.files <= names


def open_compactions(lake: Lake, domain: Domain) -> list[date]:
    """Return the dates of a domain that have a note, sorted, at the price of one listing.

    Raises:
        TransientError: the store did not answer.
    """
    pattern = re.compile(rf"{re.escape(domain.name)}-(\d{{4}}-\d\d-\d\d)\.json")
    selector = pafs.FileSelector(lake.path(lake.bronze_compactions), allow_not_found=True)
    with answering(lake.uri(lake.bronze_compactions), "listed"):
        infos = lake.filesystem.get_file_info(selector)
    matches = (pattern.fullmatch(info.base_name) for info in infos)
    return sorted(date.fromisoformat(match[1]) for match in matches if match)


def end_compaction(
    lake: Lake,
    domain: Domain,
    day: date,
    clock: Clock,
    caller: str,
    put: Callable[[str, pa.Buffer], None],
    *,
    at_once: bool = False,
) -> tuple[Ending, int]:
    """Remove what does not count of a date's files, then its note; killed anywhere, the next call goes on.

    That the new files count is noted before the first old one goes: a partition_meta that is put back to an older
    version must not decide otherwise once some are gone.

    Args:
        caller: Names the object by which the store's clock is asked.
        put: Writes an object by its path below the lake's root, whole or not at all.
        at_once: Do not wait for who still reads the old files.

    Returns:
        What became of it, and how many files were removed.

    Raises:
        TransientError: the store did not answer.
    """
    files, note_file = lake.list_folder(domain, day)
    note = read_note(lake, domain, day) if note_file is not None else None
    swapped = note is not None and is_swapped(lake, domain, day, note)
    if not (at_once and swapped) and _is_young(lake, domain, day, note_file, clock, caller):
        return Ending.WAITS, 0
    if note is None:
        forget_note(lake, domain, day)
        return Ending.UNDONE, 0
    present = {file.base_name for file in files}
    counted, hidden = (note.files, note.replaced) if swapped else (note.replaced, note.files)
    if not counted <= present:
        log.error("compaction_lost_files domain=%s date=%s files=%d", domain.name, day, len(counted - present))
        return Ending.WAITS, 0  # the others are all that is left of their rows
    gone = present & hidden
    if swapped and not note.decided:
        put(note_name(lake, domain, day), pa.py_buffer(replace(note, decided=True).to_json()))
    remove_files(lake, domain, day, gone)
    forget_note(lake, domain, day)
    return (Ending.REMOVED if swapped else Ending.UNDONE), len(gone)


def _is_young(lake: Lake, domain: Domain, day: date, note: BronzeFile | None, clock: Clock, caller: str) -> bool:
    if note is None:  # a pointer alone: its process was killed, or is about to write the note
        name = pointer_name(lake, domain, day)
        with answering(lake.uri(name), "looked at"):
            info = lake.filesystem.get_file_info(lake.path(name))
        if info.type is pafs.FileType.NotFound:
            return False
        note = BronzeFile(name, info.size, info.mtime)
    [by_ours] = by_our_clock(lake, f"{caller}-{domain.name}", {day: [note]}, clock)[day]
    return abs(clock.now() - by_ours.modified_at) < HOUR


def remove_files(lake: Lake, domain: Domain, day: date, names: Collection[str]) -> None:
    """Remove files of a date's folder; what is gone already is no error.

    Raises:
        TransientError: the store did not answer.
    """
    folder = lake.bronze_partition(domain, day)
    with ThreadPoolExecutor(PARALLEL_DELETES, "compaction") as pool:
        list(pool.map(partial(_remove, lake), [f"{folder}/{name}" for name in sorted(names)]))


def forget_note(lake: Lake, domain: Domain, day: date) -> None:
    """Remove a date's note, then what points to it.

    Raises:
        TransientError: the store did not answer.
    """
    _remove(lake, note_name(lake, domain, day))
    _remove(lake, pointer_name(lake, domain, day))


def _remove(lake: Lake, name: str) -> None:
    try:
        lake.filesystem.delete_file(lake.path(name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise TransientError(f"Removing `{lake.uri(name)}` failed: {error}. {TRY_AGAIN}") from error
