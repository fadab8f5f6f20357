"""Which small files of a date become one file.

Decided from the footers alone. Files are left as they are that do not say themselves whose rows they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import pyarrow.parquet as pq

from audit.file_offsets import PARALLEL_READS, reading
from platform_core.lake.lake import Lake
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges, united

GROUP_BYTES = 128 * 1024 * 1024
"""Uncompressed bytes of a new file, about 30 MiB on the disk: who takes a file as a whole, as an erasure and this
rewriting do, has it in memory two or three times."""

GROUP_ROWS = 250_000
"""Rows of a new file: what Parquet stores once, a topic's name say, is in memory once a row."""

OPEN_GROUPS = 2
"""Where a file may still go: in the newest group, or in the one before it, which has no first row of a second one."""


@dataclass(frozen=True)
class SmallFile:
    """A file as its footer describes it.

    Attributes:
        name: Its path below the lake's root.
        uncompressed_bytes: Its columns, encoded.
        columns: Its schema, as bytes that are equal where schemas are.
        footer: What the sink says of it.
    """

    name: str
    rows: int
    uncompressed_bytes: int
    columns: bytes
    footer: BronzeFooter


def describe(lake: Lake, names: Sequence[str]) -> list[SmallFile]:
    """Return what the footers of Bronze files say; a file whose footer names no offsets, or others, is left out.

    Raises:
        UnreadableFileError: a file is damaged, or none of the sink's.
        TransientError: the store did not answer.
    """
    with ThreadPoolExecutor(PARALLEL_READS, "footers") as pool:
        return [file for file in pool.map(partial(_described, lake), names) if file is not None]


def _described(lake: Lake, name: str) -> SmallFile | None:
    with reading(lake, name):
        metadata = pq.read_metadata(lake.path(name), filesystem=lake.filesystem)
        columns = metadata.schema.to_arrow_schema().remove_metadata().serialize().to_pybytes()
    try:
        footer = BronzeFooter.from_metadata(metadata.metadata)
    except ValueError:
        return None
    if footer is None or not footer.is_of(name) or footer.offset_count != metadata.num_rows:
        return None
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return SmallFile(name, metadata.num_rows, sum(group.total_byte_size for group in groups), columns, footer)


def grouped(files: Sequence[SmallFile]) -> list[list[SmallFile]]:
    """Return the files that become one, in the order of their names; a file that stays alone is in no group.

    A group has one topic and one set of columns, and no offset twice, as every file of the sink has: a record that was
    delivered again is in another file than its first row.
    """
    ordered = sorted(files, key=lambda file: (file.footer.topic, file.columns, file.name))
    result: list[list[SmallFile]] = []
    for _, of_one_kind in groupby(ordered, key=lambda file: (file.footer.topic, file.columns)):
        groups: list[_Group] = []
        for file in of_one_kind:
            group = next((each for each in groups[-OPEN_GROUPS:] if each.has_room_for(file)), None)
            if group is None:
                groups.append(group := _Group())
            group.add(file)
        result += [group.files for group in groups if len(group.files) > 1]
    return result


class _Group:
    def __init__(self) -> None:
        self.files: list[SmallFile] = []
        self._rows = self._bytes = 0
        self._offsets: dict[int, OffsetRanges] = {}

    def has_room_for(self, file: SmallFile) -> bool:
        if self._rows + file.rows > GROUP_ROWS or self._bytes + file.uncompressed_bytes > GROUP_BYTES:
            return False
        held = self._offsets
        return not any(
            ranges & held.get(partition, OffsetRanges()) for partition, ranges in file.footer.offsets.items()
        )

    def add(self, file: SmallFile) -> None:
        self.files.append(file)
        self._rows += file.rows
        self._bytes += file.uncompressed_bytes
        self._offsets = united(self._offsets, file.footer.offsets)
