"""Reading a date's Bronze files as one DataFrame.

Only what is pinned is read: a directory is never listed by the engine, so a file that arrives meanwhile waits for
the next run. What the columns mean is the contract's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from platform_core.domain.bronze_schema import OFFSET_COLUMNS, bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.domain.contract import Contract
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import outage
from platform_core.lake.parquet_files import of_each, opened
from platform_kafka.formats.bronze_footer import BronzeFooter

_MOST_KEPT_FOOTERS = 5_000
"""Of 20 KB each."""

_DAMAGED = re.compile(r"[Cc]orrupt|deserialize|decompress|[Ee]nd of (?:stream|file)")
"""What pyarrow says of a damaged page under the class of an outage."""


def spark_schema(contract: Contract) -> T.StructType:
    """Return the schema that a Bronze file is read with; none is inferred, because two files of a day may differ.

    Every field is nullable, because a file written before the contract gained a column lacks it and is then read
    as NULL. The partition date is not part of it: it is in the path, and Sail returns NULL for a Hive column that
    an explicit schema names.
    """
    return T.StructType([T.StructField(field.name, from_arrow_type(field.type)) for field in bronze_schema(contract)])


def read_bronze(spark: SparkSession, lake: Lake, domain: Domain, day: date, files: Sequence[str]) -> DataFrame:
    """Return the rows of exactly these files, typed by the contract; a column that a file lacks is NULL.

    Args:
        day: The partition date, for messages.
        files: Paths below the lake's root.
    """
    schema = spark_schema(domain.contract)
    if not files:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).parquet(*[lake.spark_uri(name) for name in sorted(set(files))])


class BronzeSize(NamedTuple):
    """How much a date's Bronze files hold.

    Attributes:
        rows: Their rows.
        uncompressed_bytes: Their columns, encoded, as a reader has them before it makes rows.
        footers: Of each file, so that who reads it next need not parse it again; none where files are very many.
    """

    rows: int
    uncompressed_bytes: int
    footers: Mapping[str, pq.FileMetaData] = {}


def bronze_size(lake: Lake, domain: Domain, day: date, files: Sequence[str]) -> BronzeSize:
    """Return the size of Bronze files as their footers have it, whatever the engine makes of the files.

    Sail reads a file that is not there, or is empty, as no rows, and ends its session over one that is damaged. Both
    engines read a Parquet file of somebody else as rows of NULL, and one that was rewritten as whatever it has now.

    Args:
        day: The partition date, for messages.
        files: Paths below the lake's root.

    Raises:
        PermanentError: a file does not exist, is no Parquet file, or is not what the sink has written.
        ServiceDownError: the store does not answer at all.
        TransientError: the store failed.
    """
    names = sorted(set(files))

    def footer_of(name: str) -> pq.FileMetaData:
        about = f"Domain `{domain.name}`, date {day.isoformat()}: Bronze file `{lake.uri(name)}`"
        try:
            with opened(lake, name) as file:
                footer = file.metadata
        except FileNotFoundError as error:
            raise PermanentError(f"{about} does not exist. Bronze is immutable: restore it.") from error
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and "thrift" not in str(error):
                kind = outage(error) or TransientError
                raise kind(f"{about} could not be read: {error}. It is tried again.") from error
            raise PermanentError(
                f"{about} is damaged: {error}. Nothing was written. Restore it from the store's versions, or read its"
                " offsets again with `pdp offsets reset` and remove it."
            ) from error
        if problem := _not_of_the_sink(name, footer):
            raise PermanentError(
                f"{about} {problem}. Nothing was written. Restore it from the store's versions; remove it if it was"
                " never the sink's."
            )
        return footer

    rows, uncompressed_bytes, footers = 0, 0, dict[str, pq.FileMetaData]()
    for name, footer in zip(names, of_each(lake, names, footer_of), strict=True):
        rows += footer.num_rows
        uncompressed_bytes += sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
        if len(names) <= _MOST_KEPT_FOOTERS:
            footers[name] = footer
    return BronzeSize(rows, uncompressed_bytes, footers)


def _not_of_the_sink(name: str, footer: pq.FileMetaData) -> str:
    """Return why the Parquet file of this name is not as the sink wrote it; empty when nothing tells so."""
    columns = set(footer.schema.names)
    if missing := [column.name for column in OFFSET_COLUMNS if column.name not in columns]:
        return f"is none of the sink's: it has no column `{missing[0]}`"
    try:
        named = BronzeFooter.from_metadata(footer.metadata)
    except ValueError:
        return "has a footer that is none of the sink's"
    if named and not named.is_of(name):
        return f"is a copy of `{named.file}`, as its footer says: what it had is gone"
    offsets = sum(ranges.count for ranges in named.offsets.values()) if named else footer.num_rows
    if offsets != footer.num_rows:
        return f"was rewritten: it has {footer.num_rows} rows, and its footer names {offsets} offsets"
    return ""


def unreadable_file(lake: Lake, domain: Domain, files: Sequence[str]) -> str:
    """Return the first Bronze file that cannot be read by the contract, and why; empty when all can.

    Engines do not say which of a date's files it was.
    """
    schema = bronze_schema(domain.contract)
    for name in sorted(set(files)):
        try:
            pq.read_table(lake.path(name), filesystem=lake.filesystem, schema=schema, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and not _DAMAGED.search(str(error)):
                continue  # the store is away, which is not the file's fault
            return f"`{lake.uri(name)}`: {str(error).splitlines()[0]}"
    return ""
