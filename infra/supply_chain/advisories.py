"""What the database of advisories (osv.dev) has against a part, by its package URL.

It has the advisories of PyPI, Maven and Go behind one question. What a known one means for the platform is in
`known.toml`, which `check` reads. Java runtimes and base images are not in the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from packageurl import PackageURL

from platform_core.errors import ServiceDownError

OSV = "https://api.osv.dev"
ECOSYSTEMS = ("pypi", "maven", "golang")
_AT_ONCE = 500
_TIMEOUT = (5, 30)


@dataclass(frozen=True)
class Advisory:
    """One advisory, under each of its names."""

    names: frozenset[str]
    summary: str


def advisories_of(purls: Collection[PackageURL], service: str = OSV) -> dict[PackageURL, set[str]]:
    """Return the ids of what is known against each; those without any are left out.

    Raises:
        ServiceDownError: the database does not answer, or not as it should.
    """
    asked = [purl for purl in dict.fromkeys(map(_bare, purls)) if purl.type in ECOSYSTEMS]
    result: dict[PackageURL, set[str]] = {}
    waiting: list[tuple[PackageURL, str | None]] = [(purl, None) for purl in asked]
    while waiting:
        batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        queries = [
            {"package": {"purl": purl.to_string()}, **({"page_token": page} if page else {})} for purl, page in batch
        ]
        answer = _ask("POST", f"{service}/v1/querybatch", {"queries": queries})
        for (purl, _), found in zip(batch, answer["results"], strict=True):
            if ids := {item["id"] for item in found.get("vulns", ())}:
                result.setdefault(purl, set()).update(ids)
            if page := found.get("next_page_token"):
                waiting.append((purl, page))
    return result


def advisory(identifier: str, service: str = OSV) -> Advisory:
    """Return one advisory with its other names.

    Raises:
        ServiceDownError: the database does not answer, or not as it should.
    """
    said = _ask("GET", f"{service}/v1/vulns/{identifier}")
    return Advisory(
        frozenset([identifier, *said.get("aliases", ())]), said.get("summary") or said.get("details", "")[:200]
    )


def _bare(purl: PackageURL) -> PackageURL:
    # A classifier is another file of the same version; the database knows none.
    return PackageURL(purl.type, purl.namespace, purl.name, purl.version)


def _ask(method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
    try:
        answer = requests.request(method, url, json=body, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise ServiceDownError(f"{url} does not answer: {error}") from error
