"""Whether two versions of a contract can read each other's records: FULL_TRANSITIVE, as pure rules.

Only comparing two JSON Schemas of the kind that `platform_core.domain.contract` permits belongs here; asking a registry
or reading files does not. The rules are the registry's, by
https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html, and stricter: `x-type`
makes a column's type, and a typed property may not replace what was any scalar, though some registries accept both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform_core.domain.contract import OPEN_MODEL

COMPATIBILITY = "FULL_TRANSITIVE"

# Words that no record is judged by.
ANNOTATIONS = frozenset({"$comment", "$id", "default", "description", "examples", "title"})
UNORDERED = frozenset({"enum", "required", "type"})
UNION = json.dumps(OPEN_MODEL["type"])


@dataclass(frozen=True)
class Breach:
    """One change that breaks compatibility.

    Attributes:
        field: The property's path, such as `items[].quantity`.
        reason: What changed there and why it cannot, as the rest of a sentence that begins with the field.
    """

    field: str
    reason: str

    def __str__(self) -> str:
        return f"`{self.field}` {self.reason}"


def breaches(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Breach]:
    """Compare two contracts; an empty list means that each reads the other's records.

    Args:
        old: The earlier JSON Schema, of an object.
        new: The later one.

    Returns:
        Breaches in the order of the earlier contract's properties, then of the new ones.
    """
    return _compare_objects(old, new, "")


def added_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the top-level properties that `new` has and `old` has not, in the order of `new`."""
    before = old.get("properties", {})
    return [name for name in new.get("properties", {}) if name not in before]


def _compare_objects(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[Breach]:
    before, after = old.get("properties", {}), new.get("properties", {})
    must_before, must_after = set(old.get("required", [])), set(new.get("required", []))
    broken: list[Breach] = []
    for name in dict.fromkeys([*before, *after]):
        field = f"{path}{name}"
        if name not in after:
            broken += _one_sided(field, before[name], name in must_before, old, "was removed")
        elif name not in before:
            broken += _one_sided(field, after[name], name in must_after, new, "is new")
        elif (name in must_before) != (name in must_after):
            broken.append(Breach(field, "became required" if name in must_after else "became optional"))
        else:
            broken += _compare_values(before[name], after[name], field)
    for name in sorted((must_before ^ must_after) - before.keys() - after.keys()):
        broken.append(Breach(f"{path}{name}", "became required" if name in must_after else "became optional"))
    return broken + _compare_words(old, new, path.rstrip(".") or "$", {"properties", "required"})


def _one_sided(
    field: str, spec: Mapping[str, Any], required: bool, model: Mapping[str, Any], change: str
) -> list[Breach]:
    if required:
        return [Breach(field, f"{change} and is required, which the other version's records cannot satisfy")]
    if model.get("additionalProperties") != OPEN_MODEL:
        return [Breach(field, f"{change} in an object whose `additionalProperties` is not {json.dumps(OPEN_MODEL)}")]
    if _words(spec) != _words(OPEN_MODEL):
        return [
            Breach(
                field,
                f"{change}, and the version without it takes any scalar under this name: only an optional property"
                f" of the type {UNION}, without further limits, may come or go",
            )
        ]
    return []


def _compare_values(old: Mapping[str, Any], new: Mapping[str, Any], field: str) -> list[Breach]:
    if "properties" in old or "properties" in new:
        return _compare_objects(old, new, f"{field}.")
    broken = _compare_words(old, new, field, {"items"})
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        return broken + _compare_values(old["items"], new["items"], f"{field}[]")
    return broken if old.get("items") == new.get("items") else [*broken, Breach(field, "changed `items`")]


def _compare_words(old: Mapping[str, Any], new: Mapping[str, Any], field: str, apart: set[str]) -> list[Breach]:
    before, after = _words(old), _words(new)
    return [
        Breach(field, f"changed `{word}` from {_shown(old, word)} to {_shown(new, word)}")
        for word in dict.fromkeys([*before, *after])
        if word not in apart and before.get(word) != after.get(word)
    ]


def _words(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record is judged by, in a form that compares equal whatever its order."""
    return {word: _unordered(word, value) for word, value in spec.items() if word not in ANNOTATIONS}


def _unordered(word: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unordered(name, inner) for name, inner in value.items()}
    if word in UNORDERED:
        return sorted(json.dumps(item) for item in (value if isinstance(value, list) else [value]))
    return value


def _shown(spec: Mapping[str, Any], word: str) -> str:
    return json.dumps(spec[word], ensure_ascii=False) if word in spec else "nothing"
