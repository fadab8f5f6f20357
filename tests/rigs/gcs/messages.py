"""A request and an answer as both APIs of the emulator see them, without a socket."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.rigs.gcs.objects import RefusedError


@dataclass(frozen=True)
class Request:
    """One request; `parts` are the decoded segments of its path, and a name's own slashes are in the last."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, still encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def content(self) -> bytes:
        """The body without its content encoding: Google's Java client compresses what it sends."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    def parameters(self, *known: str) -> dict[str, str]:
        """Return the query.

        Raises:
            RefusedError: it has a parameter that the emulator does not carry out.
        """
        query = self.query
        if unknown := set(query) - set(known) - {"alt", "prettyPrint", "fields", "key", "userProject", "projection"}:
            raise RefusedError(501, f"The emulator does not know {sorted(unknown)} of {self.method} {self.path}.")
        return query


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def decoded(path: str) -> str:
    """Return a path or a segment of one as text."""
    return unquote(path, errors="strict")


def ranged(request: Request, data: bytes, headers: Mapping[str, str]) -> Answer:
    """Answer a read, of the bytes that the request asks for."""
    asked = request.headers.get("range")
    if asked is None:
        return Answer(200, data, headers)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(data) - int(last))
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if start > end:
        raise RefusedError(416, "The requested range cannot be satisfied.")
    return Answer(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})
