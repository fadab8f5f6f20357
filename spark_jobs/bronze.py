"""Reading a date's Bronze files as one DataFrame.

Only what is pinned is read: a directory is never listed by the engine, so a file that arrives meanwhile waits for
the next run. What the columns mean is the contract's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pyarrow.fs as pafs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.domain.contract import Contract
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake


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

    Raises:
        PermanentError: a file does not exist.
    """
    schema = spark_schema(domain.contract)
    if not files:
        return spark.createDataFrame([], schema)
    names = sorted(set(files))
    _refuse_missing(lake, domain, day, names)
    return spark.read.schema(schema).parquet(*[lake.spark_uri(name) for name in names])


def _refuse_missing(lake: Lake, domain: Domain, day: date, names: Sequence[str]) -> None:
    # Sail reads a file that is not there as no rows; the date would silently be too small.
    present: set[str] = set()
    for folder in {name.rpartition("/")[0] for name in names}:
        listed = lake.filesystem.get_file_info(pafs.FileSelector(lake.path(folder), allow_not_found=True))
        present.update(f"{folder}/{info.base_name}" for info in listed if info.type == pafs.FileType.File)
    missing = [name for name in names if name not in present]
    if missing:
        raise PermanentError(
            f"Domain `{domain.name}`, date {day.isoformat()}: {len(missing)} of {len(names)} Bronze files do not exist,"
            f" first `{lake.uri(missing[0])}`. Bronze is immutable: restore it, or reset the date so that its files"
            " are listed again.",
            missing=missing,
        )
