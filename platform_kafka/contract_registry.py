"""What a schema registry knows of a domain's contract, asked with the standard library alone.

For processes without the registry's client, which decode by their own contract; registering belongs to the producers
and judging to `platform_core.domain.contract_compatibility`. The API is
https://docs.confluent.io/platform/current/schema-registry/develop/api.html.
"""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from platform_core.domain.catalog import Domain
from platform_core.domain.released_contracts import Version, require_compatible
from platform_core.errors import ConfigurationError, TransientError
from platform_core.settings import Settings
from platform_kafka.topics import subject_name

ANSWER_SECONDS = 10.0
ANSWER_BYTES = 4 * 1_048_576


def require_registered(settings: Settings, domain: Domain) -> list[Version]:
    """Check that this contract reads the records of every registered version.

    The contract itself need not be registered: a process may be older or newer than the producers.

    Args:
        settings: Says where the registry is.
        domain: Whose contract.

    Returns:
        The registered versions in their order, at least one.

    Raises:
        ConfigurationError: no version is registered, or one is incompatible; `fields` names the properties.
        TransientError: the registry does not answer.
    """
    versions = registered_versions(settings, domain)
    if not versions:
        raise ConfigurationError(
            f"Domain `{domain.name}`: subject `{subject_name(domain)}` has no version in the registry at"
            f" `{settings.schema_registry_url}`. Run `python -m producers provision`.",
            domain=domain.name,
            subject=subject_name(domain),
            fields=[],
        )
    require_compatible(domain, versions)
    return versions


def registered_versions(settings: Settings, domain: Domain) -> list[Version]:
    """Return the versions of a domain's subject in their order; none for an unknown subject.

    Raises:
        TransientError: the registry does not answer, or with something else than a version.
    """
    subject = subject_name(domain)
    base = f"{settings.schema_registry_url.rstrip('/')}/subjects/{quote(subject, safe='')}/versions"
    versions = []
    for number in _get(base) or []:
        answer = _get(f"{base}/{number}")
        # None: a person deleted it between the two requests.
        if answer is not None:
            source = f"{subject} version {number}"
            versions.append(Version(int(number), json.loads(answer["schema"]), source, int(answer["id"])))
    return versions


def _get(url: str) -> Any:
    """Return the JSON answer, or None for 404."""
    try:
        with request.urlopen(url, timeout=ANSWER_SECONDS) as response:
            return json.loads(response.read(ANSWER_BYTES))
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        cause = f"HTTP {error.code}"
    except (URLError, OSError, ValueError, http.client.HTTPException) as error:
        cause = str(getattr(error, "reason", error)) or type(error).__name__
    raise TransientError(
        f"The schema registry does not answer `{url}`: {cause}. Check `SCHEMA_REGISTRY_URL` and that it runs.", url=url
    )
