"""Folders in /tmp that are removed at the end, or by the next start when the end was a kill.

Data that must survive does not belong here. A folder's owner holds a lock on a file in it, as in
https://man7.org/linux/man-pages/man2/flock.2.html, so a folder without a holder is a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

# Not `tempfile.gettempdir()`: the caller's TMPDIR may be as private as the folder that this one replaces.
_SHARED = Path("/tmp")
_LOCK = ".owner"


class TemporaryFolder:
    """A new folder of mode 0700 in /tmp; first removes what killed owners left under the same prefix.

    Args:
        prefix: Start of the folder's name.
    """

    def __init__(self, prefix: str) -> None:
        for leftover in _SHARED.glob(f"{prefix}*"):
            _remove_if_abandoned(leftover)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=_SHARED))
        self._lock: TextIO = (self.path / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_if_abandoned(folder: Path) -> None:
    # Somebody else's folder, or one that is just being made, cannot be opened and stays.
    with contextlib.suppress(OSError), (folder / _LOCK).open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
