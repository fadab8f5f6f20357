"""JSON text to typed columns, with the same result in Spark and in Sail.

Reading JSON belongs here, arithmetic to `plugin_kit.decimals`. A value that cannot be read is NULL as a whole, never an
error and never in part: a rule in domains.yaml says what that means.

`from_json` makes NULL of what it cannot read, and the engines differ in what that is: Sail refuses a number beyond a
double, a hundred levels and half a surrogate pair, Spark takes quotes of both kinds, `NaN` and text behind the value.
So a text that they could read differently is refused before it is parsed, and a field is read as text and converted
here; its strings are marked before, so that `"2"` is not taken for `2`.
"""

from __future__ import annotations

import re
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from plugin_kit.decimals import decimal

if TYPE_CHECKING:
    from pyspark.sql import Column

_STRING = r'"[^"\\\x00-\x1f]*"'
_SCALAR = rf"({_STRING}|-?(0|[1-9][0-9]{{0,14}})([.][0-9]{{1,9}})?|true|false|null)"
_PAIR = rf"{_STRING}: ?{_SCALAR}"
_FLAT_OBJECT = rf"\{{({_PAIR}(, ?{_PAIR})*)?\}}"
_FLAT_OBJECTS = rf"\[({_FLAT_OBJECT}(, ?{_FLAT_OBJECT})*)?\]"
_FLAT_LENGTH = 4_000
"""Java's expressions recurse over what they repeat; a longer text is looked at piece by piece."""

_LEVELS = 8
_NUMBER_BEYOND_A_DOUBLE = r"[eE][+]?[0-9]{3}|[0-9]{200}"
_BEYOND_EXACT_DOUBLES = 10**15
"""An integer that is written as a fraction is exact below it; Sail makes 9007199254740990 of 9007199254740991.0."""

_STRING_MARK = "s"
"""What begins a string, names included, when a text is parsed: without it `2` and `"2"` would be the same."""


def struct_of(column: str, **fields: str) -> Column:
    """Return the fields of a JSON object as a struct; NULL when it is no object, or one of its fields is unreadable.

    Args:
        column: JSON text.
        fields: Name to type, in the order of the struct: `string`, `boolean`, `bigint`, `int` or `decimal(p,s)`. One
            that the object does not have is NULL.
    """
    text, ordinary = F.col(column), _ordinary_object(fields, nullable=True)
    raw = F.from_json(text, ", ".join(f"{name} {_parsed_kind(kind)}" for name, kind in fields.items()))
    # The variable of a lambda is parsed once, a column would be for each field that is taken from it.
    converted = F.transform(F.array(raw), lambda value: _of_known_kinds(value, fields))[0]
    quick = raw if all(_parsed_kind(kind) == kind for kind in fields.values()) else converted
    return _first_that_fits(text, ordinary, quick, _struct_of_any(text, fields))


def _struct_of_any(text: Column, fields: dict[str, str]) -> Column:
    raw = F.from_json(_marked(text), ", ".join(f"{_STRING_MARK}{name} string" for name in fields))
    # An invalid text makes a struct of NULLs in both engines, and a map that is NULL.
    is_empty = reduce(and_, [_raw(raw, name).isNull() for name in fields])
    is_object = F.when(is_empty, F.from_json(text, "map<string,string>").isNotNull()).otherwise(F.lit(True))
    readable = F.when(_is_flat(text, _FLAT_OBJECT), F.lit(True)).otherwise(_is_plain(text, "{", "}") & is_object)

    def typed(value: Column) -> Column:
        return F.when(~_is_unreadable(value, fields), _typed(value, fields))

    # The variable of a lambda is parsed once; a column in a `case` would be parsed for each time that it is named.
    return F.when(readable, F.transform(F.array(raw), typed)[0])


def list_of(column: str, **fields: str) -> Column:
    """Return a JSON array of objects as an array of structs; NULL when a field of any element is absent or unreadable.

    Args:
        column: JSON text.
        fields: As of `struct_of`.
    """
    text, ordinary = F.col(column), _ordinary_object(fields, nullable=False)
    kinds = ", ".join(f"{name}: {_parsed_kind(kind)}" for name, kind in fields.items())
    raw = F.from_json(text, f"array<struct<{kinds}>>")
    incomplete = F.exists(raw, lambda element: reduce(or_, [element[name].isNull() for name in fields]))
    quick = F.when(~incomplete, F.transform(raw, lambda element: _of_known_kinds(element, fields)))
    return _first_that_fits(text, rf"\[({ordinary}(, ?{ordinary})*)?\]", quick, _list_of_any(text, fields))


def _list_of_any(text: Column, fields: dict[str, str]) -> Column:
    marked = ", ".join(f"{_STRING_MARK}{name}: string" for name in fields)
    raw = F.from_json(_marked(text), f"array<struct<{marked}>>")

    def is_incomplete(element: Column) -> Column:
        return reduce(or_, [_raw(element, name).isNull() for name in fields]) | _is_unreadable(element, fields)

    # A lambda that named the text would have Sail copy it for each element: gigabytes for a long list.
    elements = F.transform(raw, lambda element: _typed(element, fields))
    readable = F.when(_is_flat(text, _FLAT_OBJECTS), F.lit(True)).otherwise(_is_plain(text, "[", "]"))
    return F.when(readable & ~F.exists(raw, is_incomplete), elements)


def _first_that_fits(text: Column, ordinary: str, quick: Column, careful: Column) -> Column:
    """Return the quick reading of an ordinary text, the careful one of any other; almost all texts are ordinary.

    The careful reading costs ten times as much, and in Sail 2 ms more for each file of a date.
    """
    return F.when(text.isNotNull(), F.when(_is_flat(text, ordinary), quick).otherwise(careful))


def _ordinary_object(fields: dict[str, str], *, nullable: bool) -> str:
    """Return what an object matches that has only the fields that are asked for, each of its kind."""
    null = "|null" if nullable else ""
    pair = "|".join(f'"{re.escape(name)}": ?({_pattern(kind)}{null})' for name, kind in fields.items())
    return rf"\{{(({pair})(, ?({pair}))*)?\}}"


def _pattern(kind: str) -> str:
    # Spark reads `-0` as no integer.
    if kind.startswith("decimal"):
        precision, scale = map(int, kind.removeprefix("decimal(").rstrip(")").split(","))
        return rf'"-?[0-9]{{1,{precision - scale}}}([.][0-9]{{1,{scale}}})?"'
    return {
        "string": _STRING,
        "boolean": "true|false",
        "int": "0|-?[1-9][0-9]{0,8}",
        "bigint": "0|-?[1-9][0-9]{0,14}",
    }[kind]


def _parsed_kind(kind: str) -> str:
    return "string" if kind.startswith("decimal") else kind


def _of_known_kinds(parsed: Column, fields: dict[str, str]) -> Column:
    values = {
        name: parsed[name].try_cast(kind) if _parsed_kind(kind) != kind else parsed[name]
        for name, kind in fields.items()
    }
    return F.struct(*[value.alias(name) for name, value in values.items()])


def _is_flat(text: Column, pattern: str) -> Column:
    """Return whether a text is ordinary JSON: almost all are, and the other checks cost ten times as much."""
    return (F.length(text) <= _FLAT_LENGTH) & text.rlike(rf"^{pattern}\z")


def _is_plain(text: Column, opening: str, closing: str) -> Column:
    """Return whether both engines read a text alike, if it is JSON: one value, few levels, no number out of range."""
    without_strings = F.regexp_replace(F.regexp_replace(text, r"\\.", ""), '"[^"]*"', '""')
    shape = rf"^[ \t\r\n]*\{opening}[\[\] \t\r\n{{}}:,0-9a-zE+.\"-]*\{closing}[ \t\r\n]*\z"
    brackets = F.regexp_replace(without_strings, r"[^\[\]{}]", "")
    inner = F.regexp_replace(brackets, r"^[\[{]|[\]}]\z", "")
    for _ in range(_LEVELS):
        inner = F.replace(F.replace(inner, F.lit("[]"), F.lit("")), F.lit("{}"), F.lit(""))
    whole_pairs = F.regexp_replace(F.regexp_replace(text, r"\\\\", ""), r"\\u[dD][89abAB]..\\u[dD][c-fC-F]", "")
    return (
        without_strings.rlike(shape)
        & ~without_strings.rlike(_NUMBER_BEYOND_A_DOUBLE)
        & (inner == "")
        & ~whole_pairs.rlike(r"\\u[dD][89a-fA-F]")
    )


def _marked(text: Column) -> Column:
    """Return a JSON text whose strings all begin with the mark; NULL if it has characters that no JSON text has."""
    backslash, quote = "\x01", "\x02"  # stand for what is escaped, so that a string ends at the next quote
    escaped = F.replace(F.replace(text, F.lit("\\\\"), F.lit(backslash)), F.lit('\\"'), F.lit(quote))
    marked = F.regexp_replace(escaped, '"([^"]*)"', f'"{_STRING_MARK}$1"')
    whole = F.replace(F.replace(marked, F.lit(quote), F.lit('\\"')), F.lit(backslash), F.lit("\\\\"))
    return F.when(~F.contains(text, F.lit(backslash)) & ~F.contains(text, F.lit(quote)), whole)


def _raw(parsed: Column, name: str) -> Column:
    return parsed[f"{_STRING_MARK}{name}"]


def _is_unreadable(parsed: Column, fields: dict[str, str]) -> Column:
    given_but_null = [
        _raw(parsed, name).isNotNull() & _converted(_raw(parsed, name), kind).isNull() for name, kind in fields.items()
    ]
    return reduce(or_, given_but_null)


def _typed(parsed: Column, fields: dict[str, str]) -> Column:
    return F.struct(*[_converted(_raw(parsed, name), kind).alias(name) for name, kind in fields.items()])


def _converted(raw: Column, kind: str) -> Column:
    is_string, value = raw.startswith(_STRING_MARK), F.regexp_replace(raw, f"^{_STRING_MARK}", "")
    if kind == "string":
        return F.when(is_string, value)
    if kind.startswith("decimal"):
        return F.when(is_string, decimal(value, kind))
    if kind == "boolean":
        return F.when(value.isin("true", "false"), value == "true")
    # JSON knows no integers: 2.0 is one, and the engines write 12345678.0 in two ways.
    number = value.try_cast("double")
    is_whole = (F.abs(number) < _BEYOND_EXACT_DOUBLES) & (number == F.floor(number))
    return F.when(value.rlike(r"^-?[0-9]+\z"), value.try_cast(kind)).when(
        is_whole, number.cast("bigint").try_cast(kind)
    )
