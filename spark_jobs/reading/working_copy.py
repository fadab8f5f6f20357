"""A date's many small Bronze files as one file, for as long as a job reads them.

An engine pays for a file more than for its rows: it opens each file in each query and once more to analyse it, and
compiles each regular expression for each batch, of which a file has at least one. So 200,000 rows in 1,440 files cost
Sail 18 CPU seconds and 2 GB, in one file 5 and 0.6 GB; to copy them into one costs this process 1. What is in a file is
judged before, from its footer, in `spark_jobs.reading.bronze`; what is copied is what the engine would read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import in_one_line
from platform_core.lake.parquet_files import of_each, opened
from platform_core.lake.working_copies import new_name, working_copies
from spark_jobs.reading.bronze import BronzeSize

log = logging.getLogger(__name__)

SMALL_FILE_ROWS = 2_000
"""Rows of an average file up to which a copy costs less than the files do, in Sail by a third."""

MOST_BYTES = 1 << 30
"""Uncompressed; about ten million events. More than this is a cluster's work, and not one process's."""

_GROUP_ROWS = 50_000
"""Rows that are in memory at once, and a row group of the copy, so that several cores share it."""

_DICTIONARY_BYTES = 1 << 14


@contextmanager
def in_few_files(
    lake: Lake, domain: Domain, day: date, files: Sequence[str], size: BronzeSize
) -> Iterator[Sequence[str]]:
    """Yield the files to read instead of a date's: their copy in one where they are small, else themselves.

    The copy is removed at the end of the block, or by the next job of the date when this process is killed. A copy
    that cannot be made is no failure: the engine then reads the files, and says what it cannot read.

    Args:
        day: The partition date.
        files: Paths below the lake's root.
        size: What the files hold together.
    """
    names = sorted(set(files))
    _remove_left_behind(lake, domain, day)  # whatever is read now: it may have rows of a person who is being erased
    if len(names) < 2 or size.rows > SMALL_FILE_ROWS * len(names) or size.uncompressed_bytes > MOST_BYTES:
        yield names
        return
    copy = new_name(lake, domain.name, day)
    try:
        yield [copy] if _copied(lake, domain, names, size, copy) else names
    finally:
        _remove(lake, lake.path(copy))


def _copied(lake: Lake, domain: Domain, names: Sequence[str], size: BronzeSize, copy: str) -> bool:
    schema = bronze_schema(domain.contract)
    step = max(1, _GROUP_ROWS * len(names) // max(1, size.rows))

    def rows(name: str) -> pa.Table:
        with opened(lake, name, size.footers.get(name)) as file:
            return typed(file.read(use_threads=False), schema)

    try:
        if lake.is_local:
            Path(lake.path(copy)).parent.mkdir(parents=True, exist_ok=True)
        # Read three times and by no filter: without statistics, and with dictionaries only where they stay small.
        # A disk takes twice the bytes for less than it costs to compress them once and to undo it three times.
        with pq.ParquetWriter(
            lake.path(copy),
            schema,
            filesystem=lake.filesystem,
            compression="none" if lake.is_local else "snappy",
            write_statistics=False,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        ) as writer:
            for start in range(0, len(names), step):
                group = pa.concat_tables(of_each(lake, names[start : start + step], rows))
                writer.write_table(group.combine_chunks())  # a writer pays for a chunk, too
    except (OSError, pa.ArrowException) as error:
        log.warning("bronze_not_copied domain=%s files=%d error=%s", domain.name, len(names), type(error).__name__)
        return False
    return True


def typed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema; one that the file lacks is NULL, one of another type is the engine's to judge."""
    if rows.schema.equals(schema):
        return rows
    present = set(rows.column_names)
    if other := [field.name for field in schema if field.name in present and rows[field.name].type != field.type]:
        raise pa.ArrowTypeError(f"`{other[0]}` is {rows[other[0]].type}")
    columns = [rows[field.name] if field.name in present else pa.nulls(rows.num_rows, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _remove_left_behind(lake: Lake, domain: Domain, day: date) -> None:
    """Remove what a killed job of the same date has left; its session was ended before this one began."""
    for copy in working_copies(lake, domain.name):
        if copy.day == day:
            _remove(lake, copy.path)


def _remove(lake: Lake, path: str) -> None:
    try:
        lake.filesystem.delete_file(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # the next job of the date tries again
        log.warning("working_copy_stays path=%s error=%s", path, in_one_line(error))
