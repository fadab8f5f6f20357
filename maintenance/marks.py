"""What maintenance remembers of a table between two nights, so that a night costs what changed since the last one.

A mark says that everything was done up to a version of the table; it is true whoever stored it. One that is lost, or
that cannot be read, costs a whole turn and nothing else. What is done in a turn belongs to `delta_table`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import BaseModel, ValidationError

from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore

log = logging.getLogger(__name__)

WHOLE_EVERY = timedelta(days=7) - timedelta(hours=1)
"""A file that a killed writer left is in no log, and is found by listing every file. A little less than a week, because
a run of a daily schedule begins some minutes earlier or later."""


class TableMark(BaseModel):
    """What the last turn left.

    Attributes:
        table_id: Delta's; a table that was dropped and created again has another.
        version: The version that the turn ended with.
        commit: Of that version, see `commit_of`.
        whole_at: When the last turn began that listed every file.
        z_order_by: The columns by which large dates were ordered.
        files: Data files of that version.
        bytes: Their size.
    """

    table_id: str
    version: int
    commit: str = ""
    whole_at: datetime
    z_order_by: list[str]
    files: int
    bytes: int

    def is_whole_due(self, now: datetime) -> bool:
        """Tell whether the next turn lists every file."""
        return not timedelta() <= now - self.whole_at < WHOLE_EVERY

    def is_unchanged(self, lake: Lake, name: str, z_order_by: Sequence[str]) -> bool:
        """Tell by two looks at the log whether the newest version is still this one, and nothing else is asked for.

        A table whose folder was put back to an earlier moment has not this version, or another one of its number.

        Raises:
            OSError: the store did not answer.
        """
        if self.z_order_by != list(z_order_by):
            return False
        return commit_of(lake, name, self.version) == self.commit != "" == commit_of(lake, name, self.version + 1)


def commit_of(lake: Lake, name: str, version: int) -> str:
    """Return what tells a version of a table from another one of the same number; nothing if there is none.

    Raises:
        OSError: the store did not answer.
    """
    info = lake.filesystem.get_file_info(lake.path(f"{name}/_delta_log/{version:020}.json"))
    return f"{info.size} bytes, {info.mtime_ns}" if info.type is pafs.FileType.File else ""


class _Marks(BaseModel):
    tables: dict[str, TableMark] = {}


class Marks:
    """The marks of the tables that one job maintains, in one JSON object of the lake.

    Args:
        lake: Where it lies.
        owner: The domain, or `platform`.

    Raises:
        TransientError: the store did not answer.
    """

    def __init__(self, lake: Lake, owner: str) -> None:
        self._store = LakeStore(lake)
        self._path = f"{lake.maintenance}/{owner}.json"
        self._marks = self._load()

    def get(self, name: str) -> TableMark | None:
        """Return the mark of a table, by its path below the lake's root."""
        return self._marks.tables.get(name)

    def set(self, name: str, mark: TableMark) -> None:
        """Store the mark of a table whose turn has ended.

        Raises:
            TransientError: the store did not take it.
        """
        self._marks.tables[name] = mark
        self._store.put(self._path, pa.py_buffer(self._marks.model_dump_json().encode()))

    def _load(self) -> _Marks:
        stored = self._store.read(self._path)
        try:
            return _Marks() if stored is None else _Marks.model_validate_json(stored.to_pybytes())
        except ValidationError as error:
            log.warning("maintenance_marks_unreadable path=%s errors=%d", self._path, error.error_count())
            return _Marks()
