"""Decoded rows as the Arrow table of a Bronze file.

The columns are `platform_core.domain.bronze_schema`'s, the Parquet container belongs to `sink.bronze.writer`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from platform_core.domain.bronze_schema import TIMESTAMP, arrow_type
from platform_core.domain.contract import Column, ColumnType, Contract
from sink.records.rows import Rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_table(contract: Contract, schema: pa.Schema, topic: str, rows: Rows, ingested_at: datetime) -> pa.Table:
    """Return rows as a table of `schema`, in the order given.

    Args:
        contract: The domain's contract.
        schema: Its `bronze_schema`.
        topic: Where the rows come from.
        rows: At least one decoded row.
        ingested_at: UTC, one value for the whole file.
    """
    count = len(rows)
    arrays = [_array(column, values) for column, values in zip(contract.columns, rows.values, strict=True)]
    arrays += [
        pa.repeat(pa.scalar(topic, pa.string()), count),  # without the type pyarrow imports pandas to infer it
        pa.array(rows.partitions, pa.int32()),
        pa.array(rows.offsets, pa.int64()),
        pa.array(rows.timestamps, TIMESTAMP),
        pa.array(rows.keys, pa.string()),
        pa.array(rows.schema_ids, pa.int32()),
        pa.repeat(pa.scalar(ingested_at, TIMESTAMP), count),
        pa.array(rows.extras, pa.string()),
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(column: Column, values: list[Any]) -> pa.Array:
    if column.type is ColumnType.DECIMAL:
        # One vectorised cast of text is exact and six times as fast as Python's Decimal for each value.
        return pa.array(values, pa.string()).cast(arrow_type(column))
    if column.type is ColumnType.TIMESTAMP:
        # pyarrow asks each time for its offset from UTC, which takes 0.24 µs; so it takes 0.06.
        since_epoch = [None if moment is None else moment - _EPOCH for moment in values]
        return pa.array(since_epoch, pa.duration("us")).cast(pa.int64()).cast(TIMESTAMP)
    return pa.array(values, arrow_type(column))
