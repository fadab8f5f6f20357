"""JSON text to typed columns, with the same result in Spark and in Sail.

Reading JSON belongs here, arithmetic to `plugin_kit.decimals`. A value that cannot be read is NULL, never an error:
a rule in domains.yaml says what that means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from plugin_kit.decimals import decimal

if TYPE_CHECKING:
    from pyspark.sql import Column


def struct_of(column: str, **fields: str) -> Column:
    """Return the fields of a JSON object as a struct; one that is absent or unreadable is NULL.

    Args:
        column: JSON text.
        fields: Name to type, in the order of the struct: `string`, `boolean`, `bigint`, `int` or `decimal(p,s)`.
    """
    parsed = F.from_json(column, _parsed(fields, " "))
    if all(_read_as(kind) == kind for kind in fields.values()):
        return parsed  # an engine may parse the text once for each field that is taken out
    return F.when(parsed.isNotNull(), _typed(parsed, fields))


def list_of(column: str, **fields: str) -> Column:
    """Return a JSON array of objects as an array of structs; NULL when a field of any element is unreadable.

    Args:
        column: JSON text.
        fields: As of `struct_of`.
    """

    def is_unreadable(element: Column) -> Column:
        missing = [element[name].isNull() for name in fields]
        unreadable = missing[0]
        for each in missing[1:]:
            unreadable = unreadable | each
        return unreadable

    def typed(element: Column) -> Column:
        return F.when(element.isNotNull(), _typed(element, fields))

    elements = F.transform(F.from_json(column, f"array<struct<{_parsed(fields, ': ')}>>"), typed)
    return F.when(~F.exists(elements, is_unreadable), elements)


def _parsed(fields: dict[str, str], between: str) -> str:
    """Return the types that are read before they are cast.

    In Sail, `from_json` wraps a number too large for INT, and fails the whole query for text that is no decimal, where
    Spark yields NULL; a number too large for BIGINT is NULL in both.
    """
    return ", ".join(f"{name}{between}{_read_as(kind)}" for name, kind in fields.items())


def _read_as(kind: str) -> str:
    return "bigint" if kind == "int" else "string" if kind.startswith("decimal") else kind


def _typed(value: Column, fields: dict[str, str]) -> Column:
    return F.struct(*[_cast(value[name], kind).alias(name) for name, kind in fields.items()])


def _cast(value: Column, kind: str) -> Column:
    if kind.startswith("decimal"):
        return decimal(value, kind)
    return value.try_cast(kind) if kind == "int" else value
