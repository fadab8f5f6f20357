"""Whether a lake that is a folder is there: a disk that is not mounted leaves an empty folder, like a lake that is new.

The first sink writes a marker, and whoever has seen it takes a lake without it for an outage: for neither data nor
loss. Paths belong to `platform_core.lake.lake`; an object store has no mount and needs no marker.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake

MARKER = "_lake"
_WORDS = "By this file, processes know that the lake is mounted. Do not remove it.\n"


class LakeNotMountedError(TransientError):
    """A lake that had a marker, or must have one, has none."""

    def __init__(self, lake: Lake, why: str) -> None:
        super().__init__(
            f"The lake `{lake.root}` has no file `{MARKER}`, {why}: its disk is not mounted, or the folder was emptied."
            f" Mount it; everything goes on by itself then. If it is the right folder, create the file in it."
        )


def is_marked(lake: Lake) -> bool:
    """Return whether the lake is known to be there."""
    return not lake.is_local or Path(lake.path(MARKER)).is_file()


def open_lake(lake: Lake, has_begun: Callable[[], bool]) -> None:
    """Prepare the lake for a writer, and mark one that is new or older than its marker.

    Args:
        has_begun: Tells whether records were written to it already; asked of an empty folder only.

    Raises:
        LakeNotMountedError: it is empty, though there must be something in it.
    """
    if is_marked(lake):
        return
    root = Path(lake.root)
    if not (root.is_dir() and any(root.iterdir())) and has_begun():
        raise LakeNotMountedError(lake, "though the sink has committed offsets of what it wrote there")
    lake.prepare()
    Path(lake.path(MARKER)).write_text(_WORDS)


def require_lake(lake: Lake) -> None:
    """Refuse a lake without a marker, for whom nothing in a lake is a proof.

    Raises:
        LakeNotMountedError: it has none.
    """
    if not is_marked(lake):
        raise LakeNotMountedError(lake, "which the sink writes when it starts")


def require_marked(lake: Lake, seen: bool) -> bool:
    """Return whether the lake's marker has been seen by now.

    Args:
        seen: Whether it was seen before.

    Raises:
        LakeNotMountedError: it was, and is gone.
    """
    marked = is_marked(lake)
    if seen and not marked:
        raise LakeNotMountedError(lake, "which it had")
    return marked
