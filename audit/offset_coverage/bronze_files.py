"""Which offsets Bronze's files hold, asked of the files themselves when the ledger does not say.

A footer is enough for a file of the sink; one without the ranges is answered by its columns. When to ask, and for
what, belongs to `audit.offset_coverage.coverage`; the footer is described in docs/architecture.md.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake, is_bronze_file
from platform_kafka.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from platform_kafka.records import TopicPartition

log = logging.getLogger(__name__)

PARALLEL_READS = 8
"""An object store answers a footer after 30 to 60 ms, so that 8 side by side are 130 to 260 files a second."""


@dataclass(frozen=True)
class BronzeOffsets:
    """What a search found.

    Attributes:
        offsets: Topic and partition to the offsets in the files that were read.
        files: Number of files read.
        read_to: Every file of the window modified after this was read, UTC; None if the whole window was.
    """

    offsets: dict[TopicPartition, OffsetRanges]
    files: int
    read_to: datetime | None


def search(lake: Lake, domain: Domain, since: datetime | None, until: datetime | None, seconds: float) -> BronzeOffsets:
    """Read which offsets a domain's files hold, the newest files first.

    The cost is one listing of the domain's whole Bronze (an object store answers 1,000 files a request) and the
    footer of each file in the window.

    Args:
        since: Leave out files modified before, UTC; None for no bound.
        until: Leave out files modified after, UTC; None for no bound.
        seconds: Stop after so long.

    Raises:
        TransientError: the store did not answer.
    """
    files = _files(lake, domain, since, until)
    deadline, offsets, count = time.monotonic() + seconds, dict[TopicPartition, OffsetRanges](), 0
    with ThreadPoolExecutor(PARALLEL_READS, "footer") as pool:
        for start in range(0, len(files), PARALLEL_READS):
            group = files[start : start + PARALLEL_READS]
            if start and time.monotonic() > deadline:
                return BronzeOffsets(offsets, count, group[0].mtime)
            for of_file in pool.map(lambda info: _offsets(lake, info.path), group):
                count += 1
                for where, ranges in of_file.items():
                    offsets[where] = offsets.get(where, OffsetRanges()) | ranges
    return BronzeOffsets(offsets, count, None)


def _files(lake: Lake, domain: Domain, since: datetime | None, until: datetime | None) -> list[pafs.FileInfo]:
    folder = lake.path(lake.bronze(domain))
    try:
        listed = lake.filesystem.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
    except OSError as error:
        raise TransientError(
            f"Listing Bronze of domain `{domain.name}` under `{lake.uri(lake.bronze(domain))}` failed: {error}."
            " The next look tries again.",
            domain=domain.name,
        ) from error
    low, high = since or datetime.min.replace(tzinfo=UTC), until or datetime.max.replace(tzinfo=UTC)
    chosen = [
        info
        for info in listed
        if info.type is pafs.FileType.File and is_bronze_file(info.base_name) and low <= info.mtime <= high
    ]
    return sorted(chosen, key=lambda info: (info.mtime, info.path), reverse=True)


def _offsets(lake: Lake, path: str) -> dict[TopicPartition, OffsetRanges]:
    try:
        with pq.ParquetFile(path, filesystem=lake.filesystem) as file:
            footer = _footer(file.schema_arrow.metadata)
            return footer.by_topic_partition if footer else _counted(file.read(["_topic", "_partition", "_offset"]))
    except FileNotFoundError:
        return {}  # removed since it was listed
    except (OSError, KeyError, pa.ArrowException) as error:
        # A file that nobody can read holds nothing; the other files still answer.
        log.warning("bronze_file_unreadable path=%s error=%s", path, error)
        return {}


def _footer(metadata: dict[bytes, bytes] | None) -> BronzeFooter | None:
    try:
        return BronzeFooter.from_metadata(metadata)
    except ValueError:
        return None  # the columns say it too


def _counted(table: pa.Table) -> dict[TopicPartition, OffsetRanges]:
    grouped = table.group_by(["_topic", "_partition"]).aggregate([("_offset", "list")])
    return {
        (row["_topic"], row["_partition"]): OffsetRanges.from_offsets(row["_offset_list"])
        for row in grouped.to_pylist()
    }
