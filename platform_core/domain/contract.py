"""A domain's contract: `contract.json`, a JSON Schema, read into ordered, typed, documented columns.

This is the single place that says which JSON Schema constructs a contract may use and which column type each
becomes. Adapters to Arrow, Spark and the catalog live next to their users and contain no rule of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from platform_core.errors import ConfigurationError

OPEN_MODEL = {"type": ["string", "number", "boolean", "null"]}


class ColumnType(StrEnum):
    """The logical types that a contract can express."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON_OBJECT = "object"
    JSON_ARRAY = "array"

    @property
    def is_nested(self) -> bool:
        """Whether Bronze keeps the value as JSON text."""
        return self in (ColumnType.JSON_OBJECT, ColumnType.JSON_ARRAY)


@dataclass(frozen=True)
class Column:
    """One field of a message.

    Attributes:
        name: The field's name, the same in JSON, Parquet and Delta.
        type: The logical type.
        nullable: Whether the field may be absent or null.
        description: For the catalog and the UI.
        precision: Digits in all, for a decimal.
        scale: Digits after the point, for a decimal.
        min_length: Characters that a string must at least have.
        any_scalar: Whether the value may also be a number or a boolean; its JSON text is kept.
    """

    name: str
    type: ColumnType
    nullable: bool
    description: str
    precision: int = 0
    scale: int = 0
    min_length: int = 0
    any_scalar: bool = False


@dataclass(frozen=True)
class Contract:
    """The JSON Schema of a topic's value and what is derived from it."""

    domain: str
    path: Path
    schema: dict[str, Any]
    columns: tuple[Column, ...]

    @property
    def schema_text(self) -> str:
        """The schema as it is registered: compact JSON, key order kept."""
        return json.dumps(self.schema, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}


NAMES_OF_SILVER = ("record_hash",)
"""Columns that Silver has of the platform and that do not begin with an underscore."""

_COLUMN_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")


def load_contract(domain: str, path: Path) -> Contract:
    """Read and check a contract.

    Args:
        domain: The domain's name, for messages.
        path: The `contract.json`.

    Raises:
        ConfigurationError: the file is missing, is not JSON, or uses what a contract may not.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"Domain `{domain}` has no contract: `{path}` does not exist. Add the JSON Schema of its Kafka value."
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            f"The contract of domain `{domain}` in `{path}` is not JSON: {error}. Mend the file."
        ) from None

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"The contract of domain `{domain}` in `{path}`: {what}")

    if not isinstance(schema, dict) or "$schema" not in schema or schema.get("type") != "object":
        raise wrong("needs `$schema` and `type: object`.")
    if schema.get("additionalProperties") != OPEN_MODEL:
        # An open or a closed model can never gain a property under FULL_TRANSITIVE; this one can.
        raise wrong(f"`additionalProperties` must be {json.dumps(OPEN_MODEL)}, or it can never evolve.")
    _check_object(schema, "", wrong)
    if not schema.get("properties"):
        raise wrong("needs at least one entry in `properties`.")
    required = set(schema.get("required", []))
    columns = []
    taken: dict[str, str] = {}
    for name, spec in schema["properties"].items():
        if name.startswith("_"):
            raise wrong(f"property `{name}` begins with an underscore; those names belong to the platform.")
        if not _COLUMN_NAME.match(name):
            raise wrong(f"property `{name}` is no name of a column: a letter, then letters, digits and underscores.")
        if name.lower() in taken or name.lower() in NAMES_OF_SILVER:
            other = f"as `{taken[name.lower()]}` but for case" if name.lower() in taken else "as a column of Silver"
            raise wrong(f"property `{name}` has the same name {other}.")
        taken[name.lower()] = name
        columns.append(_column(name, spec, name in required, wrong))
    return Contract(domain, path, schema, tuple(columns))


def _check_object(schema: dict[str, Any], path: str, wrong: Any) -> None:
    """Refuse an object, at any depth, whose `properties` and `required` are not what JSON Schema says of them."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    at = f" of `{path}`" if path else ""
    if not isinstance(properties, dict) or not all(isinstance(spec, dict) for spec in properties.values()):
        raise wrong(f"`properties`{at} must map names to schemas.")
    if not isinstance(required, list) or len({str(name) for name in required}) < len(required):
        raise wrong(f"`required`{at} must be a list of names, each once.")
    if unknown := [name for name in required if name not in properties]:
        raise wrong(f"`required`{at} names {unknown}, which `properties` does not define.")
    for name, spec in properties.items():
        _check_object(spec, f"{path}.{name}".lstrip("."), wrong)
    if isinstance(schema.get("items"), dict):
        _check_object(schema["items"], f"{path}[]", wrong)


def _column(name: str, spec: dict[str, Any], required: bool, wrong: Any) -> Column:
    types = spec.get("type")
    names = set(types if isinstance(types, list) else [types])
    nullable = not required or "null" in names
    names.discard("null")
    precision = scale = 0
    any_scalar = names == {"string", "number", "boolean"}
    if any_scalar:
        kind = ColumnType.STRING  # a property added later, of the open model's union: kept as text
    elif len(names) != 1:
        raise wrong(f"property `{name}` must have one type besides `null`, not {types!r}.")
    else:
        try:
            kind = ColumnType(next(iter(names)))
        except ValueError:
            raise wrong(
                f"property `{name}` has type {types!r}; legal are string, integer, number, boolean, object, array."
            ) from None
    if kind is ColumnType.STRING:
        if spec.get("format") == "date-time":
            kind = ColumnType.TIMESTAMP
        elif spec.get("format") == "date":
            kind = ColumnType.DATE
        elif "x-type" in spec:
            match = _DECIMAL.match(str(spec["x-type"]))
            if not match or not 0 <= int(match[2]) <= int(match[1]) <= 38 or int(match[1]) == 0:
                raise wrong(
                    f"property `{name}` has `x-type: {spec['x-type']}`; legal is `decimal(p,s)`, 0 <= s <= p <= 38, p"
                    " at least 1."
                )
            kind, precision, scale = ColumnType.DECIMAL, int(match[1]), int(match[2])
    return Column(
        name, kind, nullable, spec.get("description", ""), precision, scale, spec.get("minLength", 0), any_scalar
    )
