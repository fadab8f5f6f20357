"""The versions of a subject that the schema registry has, read without the registry's client.

Whoever only compares contracts needs two requests and no client, whose import costs 0.25 CPU seconds of each start.
Registering and looking up belong to `platform_kafka.registry` and `platform_kafka.provision`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, Request, build_opener

from platform_core.domain.released_contracts import ReleasedContract
from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.tls import registry_files

ANSWER_SECONDS = 10


def registered_versions(settings: Settings, subject: str) -> list[ReleasedContract]:
    """Return a subject's versions in their order; none for an unknown subject.

    Raises:
        ConfigurationError: the file with the registry's authority cannot be used.
        TransientError: the registry does not answer, or with something else than a version.
    """
    https = urlsplit(settings.schema_registry_url).scheme == "https"
    opener = build_opener(*([HTTPSHandler(context=registry_files(settings).context())] if https else []))
    versions = f"/subjects/{quote(subject, safe='')}/versions"
    try:
        numbers = _answer(opener, settings, versions) or ()
        # None: a person deleted it between the two requests.
        found = [(number, _answer(opener, settings, f"{versions}/{number}")) for number in numbers]
        return [_version(subject, number, document) for number, document in found if document is not None]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise no_answer(subject, error) from error


def no_answer(subject: str, error: Exception) -> TransientError:
    """Return what to say of a registry that could not be asked for a subject."""
    what = str(error.reason) if isinstance(error, URLError) else str(error)
    return TransientError(
        f"The schema registry cannot look up subject `{subject}`: {what or type(error).__name__}."
        " Check `SCHEMA_REGISTRY_URL` and that it runs. It is tried again.",
    )


def _answer(opener: OpenerDirector, settings: Settings, path: str) -> Any:
    """Return the JSON document at a path, None if there is none."""
    request = Request(settings.schema_registry_url.rstrip("/") + path)
    if settings.schema_registry_password is not None:
        login = f"{settings.schema_registry_username}:{settings.schema_registry_password.get_secret_value()}"
        # Not `add_header`: urllib would give it to whatever host a redirect names, also without TLS.
        request.add_unredirected_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            return json.load(response)
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise


def _version(subject: str, number: int, document: dict[str, Any]) -> ReleasedContract:
    schema = json.loads(document["schema"])
    return ReleasedContract(number, schema, f"{subject} version {number}", int(document["id"]))
