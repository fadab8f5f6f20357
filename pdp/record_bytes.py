"""Keys, values and headers of Kafka records as something that a terminal and JSON can show.

Only the showing belongs here; a record may hold any bytes of any number, so that nothing of it is printed as it came.
What steers a terminal is escaped by `pdp.output`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from rich.text import Text

from pdp.output import printable
from platform_kafka.formats.wire_format import unframe
from platform_kafka.records import Header, Message, headers_of

VALUE_SHOWN = 2_000
"""Characters of a value in a terminal: about a screen."""

KEY_SHOWN = 400
"""Characters of a key or of the headers in a terminal; --json has all of them."""

UNDECODED_SHOWN = 4_096
"""Bytes of a value that is no JSON, in a JSON document: the beginning tells what it is, `--raw` has all."""


def text(raw: bytes | None) -> str | None:
    """Return bytes as text, with backslashes for what is not UTF-8."""
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def record_document(message: Message) -> dict[str, Any]:
    """Return a record's key, headers and value for a JSON document; a header's name may come twice."""
    return {
        "key": text(message.key()),
        "headers": [{"name": name, "value": text(value)} for name, value in headers_of(message) or ()],
        "value": value_document(message.value()),
    }


def record_lines(key: bytes | None, headers: Iterable[Header], value: str) -> Iterator[Text]:
    """Yield a record's key, headers and shown value for a terminal, with an empty line after them."""
    yield Text(f"  key {_cut(text(key) or 'null', len(key or b''))}")
    line = " ".join(f"{name}={text(content)}" for name, content in headers)
    if line:
        yield Text(f"  headers {_cut(line, len(line))}".replace("\n", "\\n"))
    indented = value.replace("\n", "\n  ")
    yield Text(f"  {indented}\n")


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


def value_text(value: bytes | None) -> str:
    """Return a value for a terminal: indented JSON, text, or hexadecimal digits; cut."""
    document = value_document(value)
    if value is None:
        return "null"
    if "json" in document:
        shown = json.dumps(document["json"], indent=2, ensure_ascii=False)
    else:
        shown = document.get("text", f"0x{document.get('hex', '')}")
    return _cut(shown, len(value), VALUE_SHOWN, truncated=document.get("truncated", False))


def _cut(shown: str, size: int, limit: int = KEY_SHOWN, *, truncated: bool = False) -> str:
    shown = printable(shown)
    return f"{shown[:limit]}… ({size:,} bytes)" if truncated or len(shown) > limit else shown


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
