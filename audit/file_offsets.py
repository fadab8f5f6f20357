"""Which offsets Bronze's rows have, read from the columns of every file and not only from its footer.

The footer says what the sink meant to write, the columns what is there; where both differ the file is named. What
Kafka has is compared in `kafka_to_bronze` and `offset_coverage`; the footer is described in docs/architecture.md.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import chain

import pyarrow as pa

from audit.collected_offsets import collect
from platform_core.domain.bronze_schema import OFFSET_COLUMNS
from platform_core.domain.catalog import Domain
from platform_core.errors import PlatformError, TransientError
from platform_core.lake.bronze_compaction import UnreadableNoteError
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.parquet_files import opened
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges, Range, united
from platform_kafka.records import TopicPartition

OFFSETS = pa.schema([(column.name, column.type) for column in OFFSET_COLUMNS])

PARALLEL_READS = 8
"""An object store answers after 30 to 60 ms, so that 8 side by side are 130 to 260 files a second."""


@dataclass
class FileOffsets:
    """What the files hold that were read so far.

    Attributes:
        rows: Rows in all files.
        offsets: The distinct offsets by topic and partition.
        erased: The offsets that footers name as erased with a person's data.
        lying: Files whose footer names other offsets than their columns, or another file.
        unreadable: File to why it could not be read.
    """

    rows: int = 0
    offsets: dict[TopicPartition, OffsetRanges] = field(default_factory=dict)
    erased: dict[TopicPartition, OffsetRanges] = field(default_factory=dict)
    lying: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    @property
    def distinct(self) -> int:
        """How many offsets there are."""
        return sum(ranges.count for ranges in self.offsets.values())

    def read(
        self, lake: Lake, names: Collection[str], deadline: float = float("inf"), *, may_replace: bool = False
    ) -> bool:
        """Add files; one that was read before is not read again.

        Args:
            names: Paths below the lake's root.
            deadline: When to stop, by `time.monotonic`.
            may_replace: Some of them may replace others: a row counts only if its offset is new.

        Returns:
            Whether all were read.

        Raises:
            TransientError: the store did not answer.
        """
        new, rows, distinct = [name for name in names if name not in self._known], self.rows, self.distinct
        known = ((tp, some) for tp, ranges in self.offsets.items() for some in ranges)
        self.offsets = collect(chain(known, self._ranges(lake, new, deadline)))
        if may_replace:
            self.rows = rows + self.distinct - distinct
        return self._known.issuperset(names)

    def _ranges(self, lake: Lake, names: Collection[str], deadline: float) -> Iterator[tuple[TopicPartition, Range]]:
        pool = ThreadPoolExecutor(PARALLEL_READS, "file_offsets")
        try:
            for name, reading in [(name, pool.submit(_of_file, lake, name)) for name in names]:
                if time.monotonic() > deadline:
                    return
                self._known.add(name)
                try:
                    rows, ranges, honest, erased = reading.result()
                except FileNotFoundError:
                    continue  # it holds nothing any more, and what only it held is missing
                except UnreadableFileError as error:
                    self.unreadable[name] = str(error)
                    continue
                self.rows += rows
                if not honest:
                    self.lying.append(name)
                self.erased = united(self.erased, erased) if erased else self.erased
                yield from ranges
        finally:
            pool.shutdown(cancel_futures=True)


class UnreadableFileError(Exception):
    """A file of Bronze that is damaged, or none of the sink's."""


@dataclass(frozen=True)
class DateFiles:
    """The Bronze files of a date.

    Attributes:
        files: Those that count.
        unclear: Why nobody knows which of them count, so that they are all of the folder; empty if these do.
    """

    day: date
    files: list[BronzeFile]
    unclear: str = ""


def list_files(lake: Lake, domain: Domain) -> list[DateFiles]:
    """List a domain's Bronze files, several dates side by side.

    Raises:
        TransientError: the store did not answer.
    """
    with ThreadPoolExecutor(PARALLEL_READS, "listing") as pool:
        return list(pool.map(partial(_files_of, lake, domain), lake.list_dates(domain)))


def _files_of(lake: Lake, domain: Domain, day: date) -> DateFiles:
    try:
        return DateFiles(day, lake.list_date(domain, day))
    except UnreadableNoteError as error:
        return DateFiles(day, lake.list_folder(domain, day)[0], error.message)


@contextmanager
def reading(lake: Lake, name: str) -> Iterator[None]:
    """Tell a damaged file from a store that does not answer, while the block reads one.

    Raises:
        UnreadableFileError: the file is damaged, or none of the sink's.
        FileNotFoundError: it was removed.
        TransientError: the store did not answer.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, KeyError) as error:
        raise UnreadableFileError(str(error).split("\n", 1)[0]) from error
    except OSError as error:
        # A damaged page is an OSError too, and only a store that does not answer concerns all files.
        if "Corrupt" in str(error) or "deserialize" in str(error) or "decompress" in str(error):
            raise UnreadableFileError(str(error).split("\n", 1)[0]) from error
        raise TransientError(f"Reading `{lake.uri(name)}` failed: {error}. Try again.") from error


def read_columns(lake: Lake, name: str, schema: pa.Schema = OFFSETS) -> pa.Table:
    """Read columns of one Bronze file; contract columns that it lacks are left out.

    Args:
        schema: The columns, best in the order of the contract, as the sink writes them: a sixth of a small file's cost.

    Raises:
        UnreadableFileError: the file is damaged, or none of the sink's.
        FileNotFoundError: it was removed.
        TransientError: the store did not answer.
    """
    with reading(lake, name):
        with opened(lake, name) as file:
            # In this thread: others read other files.
            table = file.read(schema.names, use_threads=False)
        if table.column_names != schema.names or table.schema.types != schema.types:
            present, metadata = {*table.column_names, *OFFSETS.names}, table.schema.metadata
            wanted = pa.schema([field for field in schema if field.name in present])
            table = table.select(wanted.names)
            table = table if table.schema.types == wanted.types else table.cast(wanted)
            table = table.replace_schema_metadata(metadata)
    if any(table.column(name).null_count for name in OFFSETS.names):
        raise UnreadableFileError("a row has no topic, partition or offset")
    return table


def unreadable_files(lake: Lake, names: Collection[str], schema: pa.Schema = OFFSETS) -> dict[str, str]:
    """Read files one by one, and return those that are damaged or none of the sink's, and why.

    Raises:
        TransientError: the store did not answer.
    """
    unreadable = {}
    for name in names:
        try:
            read_columns(lake, name, schema)
        except UnreadableFileError as error:
            unreadable[name] = str(error)
    return unreadable


def count_rows(lake: Lake, names: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Return the rows of files by their footers, and the files that have no footer, and why.

    Raises:
        PlatformError: a footer could not be read, though the file is whole.
    """
    try:
        return lake.count_records(names), {}
    except PlatformError:
        if not (unreadable := unreadable_files(lake, names)):
            raise
        return lake.count_records([name for name in names if name not in unreadable]), unreadable


def _of_file(
    lake: Lake, name: str
) -> tuple[int, list[tuple[TopicPartition, Range]], bool, dict[TopicPartition, OffsetRanges]]:
    columns = read_columns(lake, name)
    by_partition = columns.group_by(["_topic", "_partition"]).aggregate([("_offset", "list")]).to_pylist()
    ranges = [
        ((row["_topic"], row["_partition"]), run)
        for row in by_partition
        for run in OffsetRanges.from_offsets(row["_offset_list"])
    ]
    try:
        footer = BronzeFooter.from_metadata(columns.schema.metadata)
    except ValueError:
        return columns.num_rows, ranges, False, {}
    # A file without a footer says nothing false; one with it has no offset twice.
    named = footer is None or footer.offset_count == columns.num_rows
    honest = footer is None or (named and footer.is_of(name) and footer.by_topic_partition == collect(ranges))
    return columns.num_rows, ranges, honest, footer.erased_by_topic_partition if footer else {}
