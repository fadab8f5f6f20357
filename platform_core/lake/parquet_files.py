"""Opening Parquet files of the lake, one or many side by side; a small one is read whole, in one go.

What a file holds, and what it means that one cannot be read, belongs to who reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.lake.lake import Lake

T = TypeVar("T")

SMALL_FILE_BYTES = 1 << 20
"""Up to so much a file comes in one request of a store, and costs half the CPU of its columns one by one."""

FILES_AT_ONCE = 8
"""A store answers slowly and many at once; a disk is read by as many threads as there are cores."""

_BUNCH = 32
"""Files that a thread takes in one go: to hand over each by itself costs as much as the footer of a small one."""


@contextmanager
def opened(lake: Lake, name: str, footer: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """Open a file for as long as the block reads it.

    Args:
        name: The path below the lake's root.
        footer: Its footer, where that is known already.

    Raises:
        FileNotFoundError: it is not there.
        OSError: the store did not answer, or the file is damaged.
        ArrowException: it is no Parquet file.
    """
    with lake.filesystem.open_input_file(lake.path(name)) as stored:
        is_small = stored.size() <= SMALL_FILE_BYTES
        source = pa.BufferReader(stored.read_buffer()) if is_small else stored
        with pq.ParquetFile(source, metadata=footer, pre_buffer=not is_small) as file:
            yield file


def of_each(lake: Lake, names: Sequence[str], read: Callable[[str], T]) -> Iterator[T]:
    """Yield what a function returns for each file, in their order; several are read at once.

    Args:
        names: The files. What is read of them is kept until it is taken, so that large parts come a few at a time.
        read: Called with a name, in a thread; what it raises is raised here, of the first such file.
    """
    threads = min(FILES_AT_ONCE, os.cpu_count() or 1) if lake.is_local else FILES_AT_ONCE
    bunch = max(1, min(_BUNCH, len(names) // (4 * threads)))
    with ThreadPoolExecutor(threads, "files") as pool:
        bunches = [names[start : start + bunch] for start in range(0, len(names), bunch)]
        for of_bunch in pool.map(lambda some: [read(name) for name in some], bunches):
            yield from of_bunch
