"""The Arrow schema of a dataclass whose objects are the rows of a Delta table.

Only the derivation lives here: a row is described once, by its dataclass. What a table is for belongs to its module.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import pyarrow as pa

ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
    tuple[str, ...]: pa.list_(pa.string()),
}


def schema_of(row: type, as_json: Collection[str] = ()) -> pa.Schema:
    """Return a column a field; one that has a default or may be None is nullable, because SQL may leave it out.

    Args:
        as_json: Fields that the table has as JSON text.
    """
    hints, columns = get_type_hints(row), []
    for field in fields(row):
        hint = hints[field.name]
        optional = type(None) in get_args(hint)
        kind = next(part for part in get_args(hint) if part is not type(None)) if optional else hint
        is_text = field.name in as_json or (isinstance(kind, type) and issubclass(kind, StrEnum))
        arrow = pa.string() if is_text else ARROW_TYPES[kind]
        columns.append(pa.field(field.name, arrow, nullable=optional or field.default is not MISSING))
    return pa.schema(columns)
