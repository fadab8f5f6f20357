"""The columns of a Bronze file: the contract's, then those that the platform adds to each record.

The schema follows the contract and nothing else, so that every file of a domain has the same columns whatever its rows
hold. The sink writes by it, the Spark jobs and the audit read by it; `platform_core.domain.contract` lists the logical
types.
"""

from __future__ import annotations

import pyarrow as pa

from platform_core.domain.contract import Column, ColumnType, Contract

TIMESTAMP = pa.timestamp("us", tz="UTC")

PLATFORM_COLUMNS = (
    pa.field("_topic", pa.string(), nullable=False),
    pa.field("_partition", pa.int32(), nullable=False),
    pa.field("_offset", pa.int64(), nullable=False),
    pa.field("_kafka_timestamp", TIMESTAMP),
    pa.field("_key", pa.string(), nullable=False),
    pa.field("_schema_id", pa.int32()),
    pa.field("_ingested_at", TIMESTAMP, nullable=False),
    pa.field("_extra", pa.string()),
)

OFFSET_COLUMNS = PLATFORM_COLUMNS[:3]
"""What every file of the sink has, however old it is, and no row leaves empty: the record that the row was."""

RECORD_IDENTITY = tuple(field.name for field in PLATFORM_COLUMNS[:4])
"""Columns that one record only has so: a topic that is recreated gives its offsets again, at another time."""

_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: TIMESTAMP,
    ColumnType.DATE: pa.date32(),
    ColumnType.JSON_OBJECT: pa.string(),
    ColumnType.JSON_ARRAY: pa.string(),
}


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a contract column; nested values are JSON text."""
    if column.type is ColumnType.DECIMAL:
        return pa.decimal128(column.precision, column.scale)
    return _TYPES[column.type]


def bronze_schema(contract: Contract) -> pa.Schema:
    """Return the schema of a Bronze file.

    The partition date is not among the columns; its value is the name of the file's folder.
    """
    # All contract columns are nullable in the file: a property that becomes optional later must not change
    # the physical type of the column between old and new files.
    fields = [pa.field(column.name, arrow_type(column)) for column in contract.columns]
    return pa.schema([*fields, *PLATFORM_COLUMNS])
