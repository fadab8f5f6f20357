"""Compares what is known against the platform's parts with what `known.toml` explains.

An entry there belongs to one version: an update of the part asks the question again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from packageurl import PackageURL

from infra.supply_chain.advisories import OSV, advisories_of, advisory
from platform_core.errors import ServiceDownError

KNOWN_FILE = Path(__file__).with_name("known.toml")


@dataclass
class Result:
    """What the check found, in sentences.

    Attributes:
        stale: Explanations that belong to no part.
        unexplained: Advisories without an explanation.
        unchecked: Why the database was not asked; empty if it was.
        checked: Number of parts that it was asked about.
    """

    stale: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unchecked: str = ""
    checked: int = 0


def check(purls: Collection[PackageURL], service: str = OSV, known_file: Path = KNOWN_FILE) -> Result:
    """Return what nobody has explained yet, and which explanations belong to no part any more."""
    known = tomllib.loads(known_file.read_text(encoding="utf-8"))
    versions = {PackageURL(p.type, p.namespace, p.name, p.version).to_string() for p in purls}
    result = Result()
    for purl in known.keys() - versions:
        result.stale.append(f"{known_file.name} explains {purl}, which is no part; remove the entry.")
    try:
        against = advisories_of(purls, service)
        result.checked = len(versions)
        for part, identifiers in against.items():
            explained = known.get(part.to_string(), {})
            for identifier in sorted(identifiers - explained.keys()):
                item = advisory(identifier, service)
                if item.names.isdisjoint(explained):
                    names = ", ".join(sorted(item.names))
                    result.unexplained.append(
                        f"{part.to_string()}: {names}: {item.summary} Take a version without it, or say in "
                        f"{known_file.name} why it does not matter."
                    )
    except ServiceDownError as error:
        result.unchecked = error.message
    return result
