"""Types and statements of the warehouse's tables, derived from a Gold table's Arrow schema.

Only text is made here. Every statement is DDL or a template of one; what runs inside a transaction, and in which
order, belongs to `load`.
"""

from __future__ import annotations

import re

import pyarrow as pa

from platform_core.errors import PermanentError

LEDGER_SCHEMA = "PLATFORM"
LEDGER_TABLE = "LOADS"
LEDGER_COLUMNS = (
    "DOMAIN VARCHAR, TABLE_NAME VARCHAR, PARTITION_DATE DATE, FINGERPRINT VARCHAR, ROWS_TOTAL NUMBER(38,0),"
    " ROWS_DELETED NUMBER(38,0), ROWS_INSERTED NUMBER(38,0), ROWS_UPDATED NUMBER(38,0), RUN_ID VARCHAR,"
    " LOADED_AT TIMESTAMP_NTZ(6)"
)

_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def identifier(name: str) -> str:
    """Return a name in upper case, safe to put into a statement without quotes.

    Raises:
        PermanentError: it is not a plain identifier.
    """
    if not _IDENTIFIER.match(name):
        raise PermanentError(
            f"`{name}` cannot be a name in the warehouse: letters, digits and underscores only. Rename it in"
            " domains.yaml or in the aggregation.",
            name=name,
        )
    return name.upper()


def literal(text: str) -> str:
    """Return a text as a SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def column_type(kind: pa.DataType) -> str:
    """Return the Snowflake type of an Arrow type.

    Raises:
        PermanentError: Gold has a type that no warehouse column can hold exactly.
    """
    if pa.types.is_decimal(kind):
        return f"NUMBER({kind.precision},{kind.scale})"
    if pa.types.is_integer(kind):
        return "NUMBER(38,0)"
    if pa.types.is_floating(kind):
        return "FLOAT"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_date(kind):
        return "DATE"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_NTZ(6)"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "VARCHAR"
    raise PermanentError(
        f"A Gold column of type `{kind}` cannot be loaded into the warehouse; aggregate to numbers, text, dates,"
        " timestamps or booleans.",
        type=str(kind),
    )


def columns(schema: pa.Schema) -> dict[str, str]:
    """Return the target table's data columns: name to type."""
    return {identifier(field.name): column_type(field.type) for field in schema}


def create_table(table: str, schema: pa.Schema) -> str:
    """Return the statement that creates a target table, with the two columns that tell who loaded a row."""
    listed = ", ".join(f"{name} {kind}" for name, kind in columns(schema).items())
    return f"CREATE TABLE IF NOT EXISTS {table} ({listed}, _LOADED_AT TIMESTAMP_NTZ(6), _RUN_ID VARCHAR)"


def add_columns(table: str, schema: pa.Schema) -> list[str]:
    """Return the statements that add what Gold has gained since the table was created."""
    return [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}" for name, kind in columns(schema).items()]
