"""The bytes of a record: key, value and dead-letter headers.

The value is the registry's wire format: a zero byte, the schema id as four bytes, JSON. What a record means belongs
to its contract, sending it to `producers.delivery`.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import orjson

HEADER_BYTES = 5


def header(schema_id: int) -> bytes:
    """Return the five bytes that come before the JSON document."""
    return struct.pack(">bI", 0, schema_id)


def encode_value(record: dict[str, Any], schema_id: int) -> bytes:
    """Return a record's value."""
    return header(schema_id) + orjson.dumps(record)


def decode_value(value: bytes) -> dict[str, Any]:
    """Return the record of a value that this process framed."""
    document: dict[str, Any] = orjson.loads(value[HEADER_BYTES:])
    return document


def encode_key(key: object) -> bytes:
    """Return a record's key: the key field as text."""
    return str(key).encode()


def dead_letter_headers(
    *, topic: str, at: datetime, error_class: str, error: str, schema_id: int
) -> list[tuple[str, str | bytes | None]]:
    """Return the headers that say why a record never reached its topic.

    Partition and offset are -1, because the record never had any.
    """
    facts = {
        "topic": topic,
        "partition": -1,
        "offset": -1,
        "timestamp": at.isoformat(),
        "error_class": error_class,
        "error": error[:1_000],
        "schema_id": schema_id,
        "attempt": 1,
    }
    return [(f"dlq.{name}", str(value).encode()) for name, value in facts.items()]
