"""YAML without its conveniences.

YAML 1.1 reads `12:30` as 750 and `no` as false, and of a key that occurs twice it keeps the last. Here a number is
digits, a truth value is `true` or `false`, a date is a date, everything else is text, and a doubled key is a mistake.
What the keys mean belongs to `platform_core.domain.catalog` and `platform_core.domain.gold_tables`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise _doubled(key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _doubled(key: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(
        None, None, f"the key `{key.value}` occurs twice; only one can hold", key.start_mark
    )


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?[0-9]+\.[0-9]+", "-0123456789"),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        FileNotFoundError: there is no such file.
        YAMLError: it is no YAML, or a key occurs twice; the message has the line.
    """
    return yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)


def read_entries(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Return what a file holds under its only top-level key, and the errors of the entries that cannot be read.

    An entry's errors are its own: the others are returned all the same. One that is there twice has no content.

    Raises:
        FileNotFoundError: there is no such file.
        YAMLError: the text is no YAML.
        ValueError: it is not a mapping with this key and no other, or that has no entries by name.
    """
    loader = _StrictLoader(path.read_text(encoding="utf-8"))
    try:
        root = loader.get_single_node()
        top = root.value if isinstance(root, yaml.MappingNode) else []
        if len(top) != 1 or top[0][0].value != key or not isinstance(top[0][1], yaml.MappingNode):
            raise ValueError(f"there must be one top-level key, `{key}`, with a mapping by name")
        loader.flatten_mapping(top[0][1])
        entries: dict[str, Any] = {}
        errors: dict[str, Exception] = {}
        for name, node in top[0][1].value:
            if str(name.value) in (entries.keys() | errors.keys()):
                errors[str(name.value)] = _doubled(name)
                continue
            try:
                entries[str(name.value)] = loader.construct_document(node)
            except (yaml.YAMLError, ValueError, TypeError) as error:  # a date such as 2026-02-30, a key that is a list
                errors[str(name.value)] = error
        return {name: entry for name, entry in entries.items() if name not in errors}, errors
    finally:
        loader.dispose()
