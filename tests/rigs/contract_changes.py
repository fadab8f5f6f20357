"""A contract and what may happen to it: each change with its verdict, for the pure rules and the real registry.

A new kind of change is one line here; both judges are asked by the tests that import this. The rules are explained
in `platform_core.domain.contract_compatibility`.
"""

from __future__ import annotations

import copy
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from platform_core.domain.catalog import load_catalog
from platform_core.domain.contract import OPEN_MODEL
from platform_core.settings import REPOSITORY

DOMAINS = REPOSITORY / "domains" / "domains.yaml"
UNION = OPEN_MODEL
BASE: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Shift",
    "type": "object",
    "properties": {
        "shift_id": {"type": "integer", "description": "Primary key"},
        "tier": {"type": "string"},
        "channel": {"type": "string", "enum": ["app", "web"]},
        "city": {"type": ["string", "null"]},
        "pay": {"type": "string", "pattern": "^[0-9]+$", "x-type": "decimal(10,2)"},
        "code": {"type": "string", "minLength": 1},
        "updated_at": {"type": "string", "format": "date-time"},
        "nickname": UNION,
        "stops": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"number": {"type": "integer"}, "note": {"type": "string"}},
                "required": ["number"],
                "additionalProperties": UNION,
            },
        },
    },
    "required": ["shift_id", "tier", "channel", "pay", "code", "updated_at", "stops"],
    "additionalProperties": UNION,
}


@dataclass(frozen=True)
class Change:
    """One change of `BASE`.

    Attributes:
        name: What it is.
        apply: Changes a schema in place.
        field: The field that the rules name; empty for a compatible change.
        word: Part of the reason that they give.
        registry_takes: The registry's own verdict, where the rules are stricter than the one under test.
    """

    name: str
    apply: Callable[[dict[str, Any]], object]
    field: str = ""
    word: str = ""
    registry_takes: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The contract after the change."""
        schema = copy.deepcopy(BASE)
        self.apply(schema)
        return schema


def _set(name: str, spec: dict[str, Any], *, required: bool = False) -> Callable[[dict[str, Any]], object]:
    def apply(schema: dict[str, Any]) -> None:
        schema["properties"][name] = spec
        if required:
            schema["required"].append(name)

    return apply


def _drop(name: str) -> Callable[[dict[str, Any]], object]:
    def apply(schema: dict[str, Any]) -> None:
        del schema["properties"][name]
        schema["required"] = [other for other in schema["required"] if other != name]

    return apply


def _stop(schema: dict[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = schema["properties"]["stops"]["items"]
    return items


CHANGES = (
    Change("description", lambda c: c["properties"]["tier"].update(description="another", title="Tier")),
    Change("order", lambda c: (c.update(properties=dict(reversed(c["properties"].items()))), c["required"].reverse())),
    Change("default", lambda c: c["properties"]["tier"].update(default="basic")),
    Change("optional added", _set("phone", UNION)),
    Change("optional added, types in another order", _set("phone", {"type": UNION["type"][::-1]})),
    Change("optional removed", _drop("nickname")),
    Change("nested optional added", lambda c: _stop(c)["properties"].update(door=UNION)),
    Change("optional of one type added", _set("phone", {"type": "string"}), "phone", "takes any scalar"),
    Change("nullable added", _set("phone", {"type": ["string", "null"]}), "phone", "takes any scalar", True),
    Change("limited optional added", _set("phone", {**UNION, "minLength": 3}), "phone", "takes any scalar", True),
    Change("typed optional removed", _drop("city"), "city", "takes any scalar", True),
    Change("required added", _set("phone", {"type": "string"}, required=True), "phone", "is new and is required"),
    Change("required union added", _set("phone", UNION, required=True), "phone", "is new and is required"),
    Change("required removed", _drop("tier"), "tier", "was removed and is required"),
    Change("became required", lambda c: c["required"].append("city"), "city", "became required"),
    Change("became optional", lambda c: c["required"].remove("tier"), "tier", "became optional"),
    Change("type changed", _set("tier", {"type": "integer"}), "tier", '`type` from "string" to "integer"'),
    Change("type widened", _set("shift_id", {"type": "number"}), "shift_id", '`type` from "integer" to "number"'),
    Change("became nullable", _set("tier", {"type": ["string", "null"]}), "tier", "changed `type`"),
    Change("enum narrowed", _set("channel", {"type": "string", "enum": ["app"]}), "channel", "changed `enum`"),
    Change("enum widened", lambda c: c["properties"]["channel"]["enum"].append("tv"), "channel", "changed `enum`"),
    Change("pattern changed", lambda c: c["properties"]["pay"].update(pattern="^9$"), "pay", "changed `pattern`"),
    Change("format removed", lambda c: c["properties"]["updated_at"].pop("format"), "updated_at", "changed `format`"),
    Change(
        "decimal widened", lambda c: c["properties"]["pay"].update({"x-type": "decimal(12,2)"}), "pay", "`x-type`", True
    ),
    Change("nested became required", lambda c: _stop(c)["required"].append("note"), "stops[].note", "became required"),
    Change("closed", lambda c: c.update(additionalProperties=False), "$", "changed `additionalProperties`"),
)

# Four versions of the users' contract as a chain of additions: name of the added field, by version.
ADDED = {1: "", 2: "nickname", 3: "birthday", 4: "loyalty_points"}


def users_version(number: int) -> dict[str, Any]:
    """Return the users' contract as it is in version 1, 2, 3 or 4 of the chain."""
    schema: dict[str, Any] = copy.deepcopy(load_catalog(DOMAINS)["users"].contract.schema)
    schema["properties"] |= {ADDED[n]: UNION for n in range(2, number + 1)}
    return schema


def write_domains(folder: Path, schemas: dict[str, dict[str, Any]], source: Path = DOMAINS) -> Path:
    """Write a `domains.yaml` with other contracts, beside packages that hold only it and what it says of Gold.

    Args:
        folder: Where both go.
        schemas: The contract of each domain; no other domain is in the file.
        source: The file whose entries are taken over.
    """
    entries = yaml.safe_load(source.read_text())["domains"]
    chosen = {}
    for name, schema in schemas.items():
        package = folder / f"{name}_{uuid.uuid4().hex[:8]}"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "contract.json").write_text(json.dumps(schema))
        gold = source.parent / entries[name].get("plugin", name) / "gold.yaml"
        if gold.exists():
            shutil.copy(gold, package)
        chosen[name] = {**entries[name], "plugin": package.name}
    path = folder / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": chosen}))
    return path
