"""The lake as the sink sees it: one call that makes a whole file appear at once.

Names come from `sink.writer`; reading the lake belongs to whoever reads. An outage is a `TransientError`, so
that the loop waits instead of giving records up.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from platform_core.errors import TransientError
from platform_core.lake import Lake


class Store(Protocol):
    """Where files are put."""

    def put(self, name: str, data: pa.Buffer) -> None:
        """Make `data` readable under `name`, entirely or not at all; repeating it is harmless.

        Args:
            name: Path below the lake's root.
            data: The file's content.

        Raises:
            TransientError: the store did not take it.
        """
        ...


class LakeStore:
    """The store of `LAKE_URI`: a folder or an object store."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def put(self, name: str, data: pa.Buffer) -> None:
        """Write a file, see `Store.put`."""
        try:
            if self._lake.is_local:
                self._put_locally(self._lake.path(name), data)
            else:
                self._write(self._lake.path(name), data)
        except OSError as error:
            raise TransientError(
                f"Writing `{self._lake.uri(name)}` failed: {error}. The sink keeps the records and tries again.",
                name=name,
            ) from error

    def _put_locally(self, path: str, data: pa.Buffer) -> None:
        # Readers skip names that begin with a dot, and a rename within a folder is atomic. There is no fsync:
        # the embedded broker does not sync either, so after a power failure both fall back together.
        files = self._lake.filesystem
        folder, _, name = path.rpartition("/")
        hidden = f"{folder}/.{name}.tmp"
        files.create_dir(folder, recursive=True)
        try:
            self._write(hidden, data)
            files.move(hidden, path)
        except OSError:
            with contextlib.suppress(OSError):
                files.delete_file(hidden)
            raise

    def _write(self, path: str, data: pa.Buffer) -> None:
        files: pafs.FileSystem = self._lake.filesystem
        with files.open_output_stream(path, compression=None) as stream:
            stream.write(data)
