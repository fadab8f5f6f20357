"""Types and statements of the warehouse's tables, derived from a Gold table's Arrow schema.

Only text is made here. Every statement is DDL or a template of one; what runs inside a transaction, and in which
order, belongs to `load`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

import pyarrow as pa

from platform_core.domain.gold_tables import NOT_A_COLUMN
from platform_core.errors import PermanentError

LEDGER_SCHEMA = "PLATFORM"
LEDGER_TABLE = "LOADS"
LEDGER_COLUMNS = (
    "DOMAIN VARCHAR, TABLE_NAME VARCHAR, PARTITION_DATE DATE, FINGERPRINT VARCHAR, ROWS_TOTAL NUMBER(38,0),"
    " ROWS_DELETED NUMBER(38,0), ROWS_INSERTED NUMBER(38,0), ROWS_UPDATED NUMBER(38,0), RUN_ID VARCHAR,"
    " LOADED_AT TIMESTAMP_NTZ(6)"
)

COLUMNS_OF_THE_LOAD = ("_LOADED_AT", "_RUN_ID")

MAX_PRECISION, MAX_SCALE = 38, 37

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def name(text: str) -> str:
    """Return a name as the warehouse keeps it, in upper case.

    Raises:
        PermanentError: it is not a plain identifier, or a word that names no column even in quotes.
    """
    if text.lower() in NOT_A_COLUMN:
        raise PermanentError(f"`{text}` is a word of SQL that the warehouse takes as no name. Rename the column.")
    if not _IDENTIFIER.fullmatch(text):
        raise PermanentError(
            f"`{text}` cannot be a name in the warehouse: letters, digits and underscores only. Rename it in"
            " domains.yaml or in the aggregation."
        )
    return text.upper()


def identifier(*path: str) -> str:
    """Return a name, or a path of names, in quotes: `order` and `group` are words of SQL otherwise.

    Raises:
        PermanentError: a name is not a plain identifier.
    """
    return ".".join(f'"{name(text)}"' for text in path)


def literal(text: str) -> str:
    """Return a text as a SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def column_type(kind: pa.DataType) -> str:
    """Return the Snowflake type of an Arrow type.

    Raises:
        PermanentError: Gold has a type that no warehouse column can hold exactly.
    """
    if pa.types.is_decimal(kind) and kind.precision <= MAX_PRECISION and 0 <= kind.scale <= MAX_SCALE:
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
        f" timestamps or booleans, and to at most {MAX_PRECISION} digits."
    )


def columns(schema: pa.Schema) -> dict[str, str]:
    """Return the target table's data columns: quoted name to type.

    Raises:
        PermanentError: two columns differ in their case only, or one is called like a column of the load.
    """
    kept = Counter([name(field.name) for field in schema] + list(COLUMNS_OF_THE_LOAD))
    twice = sorted(each for each, count in kept.items() if count > 1)
    if twice:
        raise PermanentError(
            f"The warehouse would have the column {', '.join(f'`{each}`' for each in twice)} twice: it keeps names in"
            f" upper case and adds {', '.join(COLUMNS_OF_THE_LOAD)}. Rename it in the aggregation."
        )
    return {identifier(field.name): column_type(field.type) for field in schema}


def create_table(table: str, schema: pa.Schema, keys: Sequence[str] = ()) -> str:
    """Return the statement that creates a target table, with the two columns that tell who loaded a row.

    Args:
        keys: The merge keys: a row without one would be inserted again by every load.
    """
    required = {identifier(key) for key in keys}
    listed = "".join(f"{each} {kind}{' NOT NULL' * (each in required)}, " for each, kind in columns(schema).items())
    return f'CREATE TABLE IF NOT EXISTS {table} ({listed}"_LOADED_AT" TIMESTAMP_NTZ(6), "_RUN_ID" VARCHAR)'


def describe_table(table: str) -> str:
    """Return the statement whose answer begins each row with the name of a column.

    Snowflake answers it without a virtual warehouse; a query of INFORMATION_SCHEMA takes one, and seconds.
    """
    return f"DESCRIBE TABLE {table}"


def add_columns(table: str, schema: pa.Schema, present: Collection[str]) -> list[str]:
    """Return the statements that add what Gold has gained since the table was created.

    Args:
        present: The names of the columns that the table has.
    """
    return [
        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {each} {kind}"
        for each, kind in columns(schema).items()
        if each.strip('"') not in present
    ]
