"""A DuckDB in memory that compares rows of the lake, and the Arrow types in which rows of any engine are compared.

What is asked of it belongs to who asks. Spark and Sail write the tables, so that what DuckDB answers is not their word.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from platform_core.domain.bronze_schema import TIMESTAMP

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "1GB"


def late_duckdb() -> Any:
    """Import DuckDB, late: what has been imported by now is left out of all of Python's later looks for garbage.

    At its end a process looks at all that it has imported and frees it one by one: 0.4 CPU seconds of a run's. What
    DuckDB has must be freed, because it reports what is not; so it comes after the others.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()
    import duckdb

    return duckdb


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB in memory that spills to disk beyond 1 GB; times are UTC."""
    with late_duckdb().connect(config={"memory_limit": MEMORY_LIMIT}) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def comparable(kind: pa.DataType) -> pa.DataType:
    """Return a type as every engine writes it: the width of an offset and the unit of a time are its own business."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return TIMESTAMP if pa.types.is_timestamp(kind) else kind
