"""A contract as a msgspec struct: what of a record is checked while its JSON is parsed.

Field names are positions, because a property may have a name that is no Python identifier. What parsing cannot check
is checked by `sink.records.decoding` and `sink.records.batch_decoding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from platform_core.domain.contract import Column, ColumnType


def record_struct(domain: str, columns: Sequence[Column], *, forbid_unknown_fields: bool) -> type[Struct]:
    """Return the type of a record with a field for each column; one that is not there is `UNSET`."""
    return msgspec.defstruct(
        f"{domain}_value",
        [(f"c{i}", *_type_and_default(column)) for i, column in enumerate(columns)],
        rename={f"c{i}": column.name for i, column in enumerate(columns)},
        forbid_unknown_fields=forbid_unknown_fields,
        kw_only=True,
        gc=False,
    )


_TYPES: dict[ColumnType, Any] = {
    ColumnType.STRING: str,
    ColumnType.INTEGER: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    ColumnType.NUMBER: float,
    ColumnType.BOOLEAN: bool,
    ColumnType.TIMESTAMP: Annotated[datetime, Meta(tz=True)],
    ColumnType.DATE: date,
}


def _type_and_default(column: Column) -> tuple[Any] | tuple[Any, object]:
    if column.type.is_nested or column.any_scalar:
        # Null is recognised afterwards: a union with Raw is not allowed.
        return (Raw, UNSET) if column.nullable else (Raw,)
    if column.type is ColumnType.DECIMAL:
        kind: Any = Annotated[str, Meta(pattern=_decimal_pattern(column))]
    elif column.min_length:
        kind = Annotated[str, Meta(min_length=column.min_length)]
    else:
        kind = _TYPES[column.type]
    return (kind | None | UnsetType, UNSET) if column.nullable else (kind,)


def _decimal_pattern(column: Column) -> str:
    whole = f"[0-9]{{1,{column.precision - column.scale}}}" if column.precision > column.scale else "0"
    fraction = rf"(\.[0-9]{{1,{column.scale}}})?" if column.scale else ""
    return rf"^-?{whole}{fraction}\Z"
