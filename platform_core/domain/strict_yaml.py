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
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key.value}` occurs twice; only one can hold", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
