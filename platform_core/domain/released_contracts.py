"""The versions of a contract that were released, kept beside it: `released/v1.json`, `released/v2.json` and so on.

Reading, checking and adding them belongs here, so that a change can be refused where no registry runs; the rules
themselves are in `platform_core.domain.contract_compatibility`. Changing a contract is explained in docs/operations.md.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_core.domain.catalog import Domain
from platform_core.domain.contract_compatibility import COMPATIBILITY, Breach, added_fields, breaches
from platform_core.errors import ConfigurationError

log = logging.getLogger(__name__)

FOLDER = "released"
RELEASE_COMMAND = "python -m producers release-contracts"

_FILE = re.compile(r"^v([1-9][0-9]*)\.json$")


@dataclass(frozen=True)
class ReleasedContract:
    """One version of a contract.

    Attributes:
        number: From 1; a registry that took all releases in their order has the same numbers.
        schema: Its JSON Schema.
        source: Where it was read, for messages: a file, or a subject's version.
        schema_id: The registry's id; 0 for a file.
    """

    number: int
    schema: dict[str, Any]
    source: str
    schema_id: int = 0


@dataclass(frozen=True)
class Release:
    """What a contract is to its released versions.

    Attributes:
        domain: Whose contract.
        version: The released version that it equals; 0 if none was ever released.
        written: The file that was written just now.
    """

    domain: str
    version: int
    written: Path | None = None


def released_versions(domain: Domain) -> list[ReleasedContract]:
    """Return the released versions in their order; none for a domain that was never released.

    Raises:
        ConfigurationError: a file is not a JSON object, has another name, or a number is missing.
    """
    folder = _folder(domain)
    versions = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _FILE.match(path.name)
        if match is None:
            raise _wrong(domain, path, "is not named `v<number>.json`. Move it elsewhere.")
        try:
            schema = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise _wrong(domain, path, f"is not JSON: {error}. Restore it from version control.") from None
        if not isinstance(schema, dict):
            raise _wrong(domain, path, "is not a JSON object. Restore it from version control.")
        versions.append(ReleasedContract(int(match[1]), schema, str(path)))
    versions.sort(key=lambda version: version.number)
    for expected, version in enumerate(versions, 1):
        if version.number != expected:
            missing = folder / f"v{expected}.json"
            raise _wrong(domain, missing, "is missing. Restore it from version control; a release is never deleted.")
    return versions


def require_compatible(domain: Domain, versions: Iterable[ReleasedContract]) -> None:
    """Compare a domain's contract with each version.

    Raises:
        ConfigurationError: they cannot read each other's records; the message names the first version
            that is broken, and the properties.
    """
    for version in versions:
        broken = breaches(version.schema, domain.contract.schema)
        if broken:
            raise _incompatible(domain, str(domain.contract.path), version, broken)


def check_release(domain: Domain) -> Release:
    """Check that the contract equals a released version and that all versions are compatible.

    A domain without any release passes with version 0: it has promised nothing yet.

    Raises:
        ConfigurationError: the contract is incompatible, or changed and not released.
    """
    versions = released_versions(domain)
    _require_chain(domain, versions)
    require_compatible(domain, versions)
    number = _number_of(domain.contract.schema, versions)
    if not versions:
        log.warning("contract_never_released domain=%s; its first release: %s", domain.name, RELEASE_COMMAND)
    elif not number:
        added = added_fields(versions[-1].schema, domain.contract.schema)
        raise ConfigurationError(
            f"Domain `{domain.name}`: `{domain.contract.path}` equals none of its {len(versions)} released versions"
            f" ({f'it adds {_names(added)}' if added else 'no property is new'}). The change is compatible; release it"
            f" with `{RELEASE_COMMAND}` and commit the new file.",
        )
    return Release(domain.name, number)


def release(domain: Domain) -> Release:
    """Write the contract as the next released version; a contract that was released before is left alone.

    Raises:
        ConfigurationError: it is incompatible with a released version, or the folder cannot be written.
    """
    versions = released_versions(domain)
    _require_chain(domain, versions)
    require_compatible(domain, versions)
    if number := _number_of(domain.contract.schema, versions):
        return Release(domain.name, number)
    path = _folder(domain) / f"v{len(versions) + 1}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(domain.contract.schema, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise _wrong(domain, path, f"cannot be written: {error.strerror}. Check the folder's permissions.") from None
    return Release(domain.name, len(versions) + 1, path)


def _folder(domain: Domain) -> Path:
    return domain.contract.path.parent / FOLDER


def _number_of(schema: Mapping[str, Any], versions: list[ReleasedContract]) -> int:
    # An older version again is legal, as in a registry: a rollback needs no release.
    return next((version.number for version in reversed(versions) if version.schema == schema), 0)


def _require_chain(domain: Domain, versions: list[ReleasedContract]) -> None:
    """Refuse a released file that was edited so that it no longer fits the others."""
    for index, version in enumerate(versions):
        for earlier in versions[:index]:
            broken = breaches(earlier.schema, version.schema)
            if broken:
                raise _incompatible(domain, version.source, earlier, broken)


def _incompatible(domain: Domain, path: str, version: ReleasedContract, broken: list[Breach]) -> ConfigurationError:
    return ConfigurationError(
        f"Domain `{domain.name}`: the contract `{path}` breaks {COMPATIBILITY} with version {version.number}"
        f" (`{version.source}`): {'; '.join(str(breach) for breach in broken)}. Undo that change, or give the field"
        " another name.",
    )


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _wrong(domain: Domain, path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"Domain `{domain.name}`: the released contract `{path}` {what}")
