"""Rows that are few, and come to this process unless they turn out to be large.

How few they must be is the caller's, who knows only what they are in files: there a text that is in every row is kept
once, and 1 MB of a file may be a gigabyte here.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, cast

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

MOST_BYTES = 256 << 20
"""As Arrow; rows of 32 MiB in files are three times as large as a rule."""

_LARGER_THAN_A_MESSAGE = "RESOURCE_EXHAUSTED"
"""What the client says of a batch above 128 MiB: 32,768 rows of 4 kB, which Sail sends in one."""


def fetched(df: DataFrame, most_bytes: int | None = None) -> pa.Table | None:
    """Return the rows as `df.toArrow()` does, None if they are too large; no more are kept meanwhile.

    Args:
        most_bytes: As Arrow, `MOST_BYTES` by default; what has come when it is exceeded is at most a message more.

    Raises:
        PySparkException: the rows cannot be had.
    """
    plan: Any = getattr(df, "_plan", None)
    if plan is None:  # `spark-submit` has no client that could stop half-way
        return df.toArrow()
    client = cast(Any, df.sparkSession).client
    schema = to_arrow_schema(df.schema, error_on_duplicated_field_names_in_struct=True, timezone="UTC")
    parts: list[pa.Table] = []
    size = 0
    try:
        with closing(client.to_table_as_iterator(plan.to_proto(client), plan.observations)) as answers:
            for part in answers:
                if not isinstance(part, pa.Table):
                    continue
                size += part.nbytes
                if size > (MOST_BYTES if most_bytes is None else most_bytes):
                    return None
                parts.append(part.cast(schema))
    except PySparkException as error:
        if _LARGER_THAN_A_MESSAGE not in str(error):
            raise
        return None
    return pa.concat_tables(parts) if parts else schema.empty_table()
