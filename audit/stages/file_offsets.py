"""Which offsets Bronze's rows have, read from the columns of every file and not only from its footer.

The footer says what the sink meant to write, the columns what is there; where both differ the file is named. What
Kafka has is compared in `kafka_to_bronze`; the footer is described in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_kafka.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges, Range

Place = tuple[str, int]
"""Topic and Kafka partition."""

PARALLEL_READS = 8
"""An object store answers after 30 to 60 ms, so that 8 side by side are 130 to 260 files a second."""

COMPACT_AT = 200_000
"""Ranges of one partition that are kept before they are merged: 200,000 are 30 MB, a merged history is one."""


@dataclass
class VerifiedOffsets:
    """What the files hold.

    Attributes:
        rows: Rows in all files.
        offsets: The distinct offsets by topic and partition.
        lying: Files whose footer names other offsets than their columns.
        unreadable: File to why it could not be read.
    """

    rows: int = 0
    offsets: dict[Place, OffsetRanges] = field(default_factory=dict)
    lying: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    _waiting: dict[Place, list[Range]] = field(default_factory=dict)

    def read(self, lake: Lake, names: Collection[str]) -> None:
        """Add files.

        Args:
            names: Paths below its root.

        Raises:
            TransientError: the store did not answer.
        """
        with ThreadPoolExecutor(PARALLEL_READS, "audit") as pool:
            for name, found in zip(names, pool.map(lambda name: _of_file(lake, name), names), strict=True):
                if isinstance(found, FileNotFoundError):
                    continue  # it holds nothing any more, and what only it held is missing
                if isinstance(found, Exception):
                    self.unreadable[name] = str(found).split("\n", 1)[0]
                else:
                    self._add(name, *found)
        for place in list(self._waiting):
            self._compact(place)

    def _add(self, name: str, rows: int, ranges: dict[Place, list[Range]], honest: bool) -> None:
        self.rows += rows
        if not honest:
            self.lying.append(name)
        for place, some in ranges.items():
            waiting = self._waiting.setdefault(place, [])
            waiting += some
            if len(waiting) > COMPACT_AT:
                self._compact(place)

    def _compact(self, place: Place) -> None:
        known = self.offsets.get(place, OffsetRanges())
        self.offsets[place] = OffsetRanges.of(*known.ranges, *self._waiting.pop(place, []))


def _of_file(lake: Lake, name: str) -> tuple[int, dict[Place, list[Range]], bool] | Exception:
    try:
        with pq.ParquetFile(lake.path(name), filesystem=lake.filesystem) as file:
            metadata = file.schema_arrow.metadata
            columns = file.read(["_topic", "_partition", "_offset"])
    except FileNotFoundError as error:
        return error
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError) as error:
        return error  # no Parquet file, or none of the sink
    except OSError as error:
        # A damaged page is an OSError too, and only a store that does not answer concerns all files.
        if "Corrupt" in str(error) or "deserialize" in str(error) or "decompress" in str(error):
            return error
        raise TransientError(f"Reading `{lake.uri(name)}` failed: {error}. Run the audit again.", file=name) from error
    found = {
        (row["_topic"], row["_partition"]): _runs(sorted(row["_offset_list"]))
        for row in columns.group_by(["_topic", "_partition"]).aggregate([("_offset", "list")]).to_pylist()
    }
    return (
        columns.num_rows,
        found,
        _is_true(metadata, {p: OffsetRanges.of(*r) for p, r in found.items()}),
    )


def _runs(ordered: list[int]) -> list[Range]:
    """Return consecutive offsets as ranges; an offset that comes twice begins a range of its own."""
    runs: list[Range] = []
    first = last = ordered[0]
    for offset in ordered[1:]:
        if offset != last + 1:
            runs.append((first, last))
            first = offset
        last = offset
    return [*runs, (first, last)]


def _is_true(metadata: dict[bytes, bytes] | None, offsets: dict[Place, OffsetRanges]) -> bool:
    """Return whether the footer names the offsets of the rows; a file without one says nothing false."""
    try:
        footer = BronzeFooter.from_metadata(metadata)
    except ValueError:
        return False
    return footer is None or footer.by_topic_partition == offsets
