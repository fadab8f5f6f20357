"""A contract's columns as Spark types: the schema that a Bronze file is read with.

Only the mapping from contract to Spark belongs here; which JSON Schema constructs exist is decided in
`platform_core.domain.contract`. No job infers a schema, because two files of one day may differ in their columns.
"""

from __future__ import annotations

from pyspark.sql import types as T

from platform_core.domain.contract import Column, ColumnType, Contract

PLATFORM_COLUMNS: tuple[tuple[str, T.DataType], ...] = (
    ("_topic", T.StringType()),
    ("_partition", T.IntegerType()),
    ("_offset", T.LongType()),
    ("_kafka_timestamp", T.TimestampType()),
    ("_key", T.StringType()),
    ("_schema_id", T.IntegerType()),
    ("_ingested_at", T.TimestampType()),
    ("_extra", T.StringType()),
)

_TYPES: dict[ColumnType, T.DataType] = {
    ColumnType.STRING: T.StringType(),
    ColumnType.INTEGER: T.LongType(),
    ColumnType.NUMBER: T.DoubleType(),
    ColumnType.BOOLEAN: T.BooleanType(),
    ColumnType.TIMESTAMP: T.TimestampType(),
    ColumnType.DATE: T.DateType(),
    ColumnType.JSON_OBJECT: T.StringType(),
    ColumnType.JSON_ARRAY: T.StringType(),
}


def spark_type(column: Column) -> T.DataType:
    """Return the Spark type that a contract column has in Bronze; nested ones are JSON text."""
    if column.type is ColumnType.DECIMAL:
        return T.DecimalType(column.precision, column.scale)
    return _TYPES[column.type]


def bronze_schema(contract: Contract) -> T.StructType:
    """Return the schema of a Bronze file: contract columns, then the platform's.

    Every field is nullable, because a file written before the contract gained a column lacks it and is then read
    as NULL. The partition date is not part of it: it is in the path, and Sail returns NULL for a Hive column that
    an explicit schema names.
    """
    fields = [T.StructField(column.name, spark_type(column), True) for column in contract.columns]
    fields += [T.StructField(name, kind, True) for name, kind in PLATFORM_COLUMNS]
    return T.StructType(fields)
