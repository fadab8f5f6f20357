"""A subject's rows in Bronze: where they are, and the same file without them.

Rows of Bronze are immutable except for this: a file that has rows of the subject is replaced by one that has all
others, whose footer names the erased offsets, so that the audit can explain them. Nothing else ever removes a row of
Bronze; compaction puts the same rows into fewer files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.file_offsets import UnreadableFileError, reading
from erasure.subject import Holder
from platform_core.clock import Clock
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.bronze_compaction import Ending, end_compaction, open_compactions
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges, united
from sink.bronze.journal import Journal

PARALLEL_READS = 8
ROW_GROUP_ROWS = 20_000

_AGAIN = "Run the command again."
"""Nothing else goes on with an erasure."""

_ERASED = re.compile(r"-e(\d+)\.parquet$")


@dataclass(frozen=True)
class FileRows:
    """A Bronze file.

    Attributes:
        name: Its path below the lake's root.
        rows: All its rows.
        of_subject: The subject's among them.
    """

    day: date
    name: str
    rows: int
    of_subject: int


@dataclass(frozen=True)
class Rewritten:
    """A file that was replaced.

    Attributes:
        replaced_by: The new file's path below the lake's root.
        offsets: The erased offsets by Kafka partition.
    """

    file: FileRows
    replaced_by: str
    offsets: dict[int, OffsetRanges]


def search(lake: Lake, holder: Holder) -> Iterator[FileRows]:
    """Yield every Bronze file of the holder's domain with its rows counted, also one that was replaced and is there.

    Raises:
        PermanentError: a file is no Parquet, so that nobody can say what is in it.
        TransientError: the store did not answer.
    """
    domain = holder.domain
    files = [(day, file.name) for day in lake.list_dates(domain) for file in lake.list_folder(domain, day)[0]]
    with ThreadPoolExecutor(PARALLEL_READS, "erasure") as pool:
        yield from pool.map(partial(_count, lake, holder), files)


def _count(lake: Lake, holder: Holder, file: tuple[date, str]) -> FileRows:
    day, name = file
    with opened(lake, name) as parquet:
        if holder.column not in parquet.schema_arrow.names:
            return FileRows(day, name, parquet.metadata.num_rows, 0)
        column = parquet.read([holder.column]).column(0)
    return FileRows(day, name, len(column), pc.sum(holder.rows_of(column)).as_py() or 0)


@contextmanager
def opened(lake: Lake, name: str) -> Iterator[pq.ParquetFile]:
    """Open a file; what is wrong with it is said as the audit says it."""
    try:
        with reading(lake, name), pq.ParquetFile(lake.path(name), filesystem=lake.filesystem) as parquet:
            yield parquet
    except UnreadableFileError as error:
        raise PermanentError(
            f"`{lake.uri(name)}` cannot be read ({error}), so nobody can say whose rows it has. Restore it first.",
        ) from error
    except FileNotFoundError as error:
        raise TransientError(f"`{lake.uri(name)}` was removed meanwhile. Try again.") from error


def rewrite(lake: Lake, holder: Holder, file: FileRows) -> Rewritten:
    """Put the file that has all rows but the subject's beside the old one, which `delete` removes.

    The new name follows from the old one, so that a rewrite that was killed and begins again makes no third file.

    Raises:
        PermanentError: the file is damaged.
        TransientError: the store did not answer.
    """
    with opened(lake, file.name) as parquet:
        schema, table = parquet.schema_arrow, parquet.read()
    gone = holder.rows_of(table.column(holder.column))
    kept, erased = table.filter(pc.invert(gone)), _offsets(table.filter(gone))
    before = BronzeFooter.from_metadata(schema.metadata) or BronzeFooter(
        holder.domain.name, holder.domain.topic.name, {}
    )
    data, name = pa.BufferOutputStream(), _next_name(file.name)
    footer = replace(before, offsets=_offsets(kept), erased=united(before.erased, erased)).named(name).to_metadata()
    with pq.ParquetWriter(data, schema.with_metadata(footer), compression="snappy") as writer:
        writer.write_table(kept.replace_schema_metadata(footer), row_group_size=ROW_GROUP_ROWS)
    # As the sink does: whole or absent, and on the disk before the old file goes.
    LakeStore(lake, _AGAIN).put(name, data.getvalue())
    return Rewritten(file, name, erased)


def delete(lake: Lake, name: str) -> None:
    """Remove a file that was rewritten.

    Raises:
        TransientError: the store did not answer.
    """
    LakeStore(lake, _AGAIN).delete(name)


def end_compactions(lake: Lake, holder: Holder, clock: Clock) -> int:
    """Remove what compactions have left of the holder's domain, whoever may still read it, and return how many files.

    Raises:
        TransientError: one is under way, or the store did not answer.
    """
    removed, put = 0, LakeStore(lake, _AGAIN).put
    for day in open_compactions(lake, holder.domain):
        ending, files = end_compaction(lake, holder.domain, day, clock, "erasure", put, at_once=True)
        if ending is Ending.WAITS:
            raise TransientError(
                f"Maintenance is compacting Bronze of `{holder.domain.name}` {day}, or was killed there within the"
                " last hour. Run the command again in an hour.",
            )
        removed += files
    return removed


def noted_by_sinks(lake: Lake, clock: Clock) -> frozenset[str]:
    """Return the files that a sink has put, or is about to, and whose offsets are not all committed.

    Raises:
        TransientError: the store did not answer.
    """
    entries = Journal(LakeStore(lake, _AGAIN), lake.sink_journal, clock).others()
    return frozenset(file for entry in entries for file in entry.files)


def _offsets(table: pa.Table) -> dict[int, OffsetRanges]:
    by_partition = table.group_by("_partition").aggregate([("_offset", "list")]).to_pylist()
    return {row["_partition"]: OffsetRanges.from_offsets(row["_offset_list"]) for row in by_partition}


def _next_name(name: str) -> str:
    earlier = _ERASED.search(name)
    if earlier:
        return f"{name[: earlier.start()]}-e{int(earlier[1]) + 1}.parquet"
    return f"{name.removesuffix('.parquet')}-e1.parquet"
