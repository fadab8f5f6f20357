"""Keys, values and headers of Kafka records as something that a terminal and JSON can show.

Only the showing belongs here; a record may hold any bytes, also those that steer a terminal, so that nothing of it is
printed as it came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from platform_kafka.wire_format import unframe

VALUE_SHOWN = 2_000
"""Characters of a value in a terminal: about a screen."""

UNDECODED_SHOWN = 4_096
"""Bytes of a value that is no JSON, in a JSON document: the beginning tells what it is, `--raw` has all."""


def text(raw: bytes | None) -> str | None:
    """Return bytes as text, with backslashes for what is not UTF-8."""
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def printable(value: str) -> str:
    """Return text without anything that steers a terminal; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in value)


def value_document(value: bytes | None) -> dict[str, Any]:
    """Return a value for a JSON document.

    Returns:
        `bytes`, its size (null for a tombstone), `schema_id`, and one of `json`, `text` or `hex`; the last two with
        `truncated`.
    """
    if value is None:
        return {"bytes": None, "schema_id": None, "json": None}
    schema_id, body = unframe(value)
    result: dict[str, Any] = {"bytes": len(value), "schema_id": schema_id}
    try:
        return {**result, "json": json.loads(body.decode("utf-8"))}
    except (ValueError, RecursionError):
        result["schema_id"] = None
    cut = value[:UNDECODED_SHOWN]
    shown = {"hex": cut.hex()} if b"\x00" in cut or not _is_text(value) else {"text": cut.decode("utf-8", "ignore")}
    return {**result, **shown, "truncated": len(value) > UNDECODED_SHOWN}


def value_text(value: bytes | None, limit: int = VALUE_SHOWN) -> str:
    """Return a value for a terminal: indented JSON, text, or hexadecimal digits; cut."""
    document = value_document(value)
    if value is None:
        return "null"
    if "json" in document:
        shown = json.dumps(document["json"], indent=2, ensure_ascii=False)
    else:
        shown = document.get("text", f"0x{document.get('hex', '')}")
    shown = printable(shown)
    if len(shown) > limit or document.get("truncated"):
        shown = f"{shown[:limit]}… ({len(value):,} bytes)"
    return shown


def headers_document(headers: Iterable[tuple[str, bytes | None]]) -> list[dict[str, Any]]:
    """Return headers for a JSON document; a name may come twice."""
    return [{"name": name, "value": text(value)} for name, value in headers]


def headers_text(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return headers on one line."""
    return printable(" ".join(f"{name}={text(value)}" for name, value in headers)).replace("\n", "\\n")


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
