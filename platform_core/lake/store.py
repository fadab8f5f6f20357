"""The lake as who writes whole files sees it: they appear entirely or not at all, and are read back by name.

The sink, erasure, the audit and maintenance put files by it; what they are named and hold is theirs, reading tables
belongs to `platform_core.lake.lake` and whoever reads them. An outage is a `TransientError`, so that who puts can wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import TRY_AGAIN
from platform_core.lake.mount import is_marked, require_marked

log = logging.getLogger(__name__)

_UNFINISHED = ".tmp"


class Store(Protocol):
    """Where files are put, by their path below the lake's root."""

    def put(self, name: str, data: pa.Buffer) -> None:
        """Make `data` readable under `name`, entirely or not at all; repeating it is harmless.

        Args:
            name: Path below the lake's root.

        Raises:
            TransientError: the store did not take it.
        """

    def read(self, name: str) -> pa.Buffer | None:
        """Return a file's content, None if there is no such file.

        Raises:
            TransientError: the store did not answer.
        """

    def list(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder; one that does not exist has none.

        Raises:
            TransientError: the store did not answer.
        """

    def delete(self, name: str) -> None:
        """Remove a file; one that does not exist is no error.

        Raises:
            TransientError: the store did not answer.
        """


class LakeStore:
    """The store of `LAKE_URI`: a folder or an object store.

    A folder that is not the lake any more, because its disk is not mounted, is a store that does not answer.

    Args:
        lake: The lake.
        then: What becomes of what was not done, a sentence that ends an error.
    """

    def __init__(self, lake: Lake, then: str = TRY_AGAIN) -> None:
        self._lake = lake
        self._then = then
        self._marked = is_marked(lake)

    def put(self, name: str, data: pa.Buffer) -> None:
        """Write a file, see `Store.put`."""
        try:
            if self._lake.is_local:
                require_marked(self._lake, self._marked)
                _put_locally(Path(self._lake.path(name)), data)
            else:
                with self._lake.filesystem.open_output_stream(self._lake.path(name), compression=None) as stream:
                    stream.write(data)
        except OSError as error:
            raise self._unanswered("Writing", name, error) from error

    def read(self, name: str) -> pa.Buffer | None:
        """Return a file's content, see `Store.read`."""
        try:
            with self._lake.filesystem.open_input_file(self._lake.path(name)) as file:
                return file.read_buffer()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unanswered("Reading", name, error) from error

    def list(self, folder: str) -> list[str]:
        """Return the files of a folder, see `Store.list`."""
        selector = pafs.FileSelector(self._lake.path(folder), allow_not_found=True)
        try:
            infos = self._lake.filesystem.get_file_info(selector)
        except OSError as error:
            raise self._unanswered("Listing", folder, error) from error
        names = [info.base_name for info in infos if info.type is pafs.FileType.File]
        return sorted(f"{folder}/{name}" for name in names if not name.startswith("."))

    def delete(self, name: str) -> None:
        """Remove a file, see `Store.delete`."""
        try:
            self._lake.filesystem.delete_file(self._lake.path(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unanswered("Deleting", name, error) from error

    def remove_leftovers(self, folders: Collection[str]) -> int:
        """Remove what killed processes have left half written in a lake that is a folder, and return how much.

        A file that is being written is locked by its writer, and the kernel ends that lock with the process.

        Args:
            folders: Where the sink writes, below the lake's root.
        """
        removed = 0
        for folder in folders if self._lake.is_local else ():
            for parent, _, names in os.walk(self._lake.path(folder)):
                for name in names:
                    if name.startswith(".") and name.endswith(_UNFINISHED):
                        removed += _remove_unlocked(Path(parent, name))
        if removed:
            log.info("leftovers_removed files=%d", removed)
        return removed

    def _unanswered(self, what: str, name: str, error: OSError) -> TransientError:
        return TransientError(f"{what} `{self._lake.uri(name)}` failed: {error}. {self._then}")


def _put_locally(path: Path, data: pa.Buffer) -> None:
    """Write a file so that neither a reader nor a power failure meets half of it, or an offset without it."""
    # Readers skip names that begin with a dot, and a rename within a folder is atomic.
    hidden = path.with_name(f".{path.name}{_UNFINISHED}")
    _make_folder(path.parent)
    try:
        with hidden.open("wb") as stream:
            with contextlib.suppress(OSError):  # without locks nobody removes it
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            hidden.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            hidden.unlink()
        raise


def _remove_unlocked(hidden: Path) -> bool:
    """Remove a file that nobody writes; a writer who comes at this moment finds it gone, and tries again."""
    with contextlib.suppress(OSError), hidden.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.unlink()
        return True
    return False


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    # The name of a file is in its folder, which the disk gets only by a sync of its own.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
