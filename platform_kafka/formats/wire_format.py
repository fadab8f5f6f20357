"""The wire format of a value: Confluent's magic byte and schema id, then the JSON document.

Only framing and unframing belong here; what the document holds is its domain's contract. The five bytes are those of
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format.
"""

from __future__ import annotations

import struct
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


def schema_id_of(value: bytes) -> int | None:
    """Return the schema id of a framed value, None if the value is not framed: plain JSON, or any other bytes."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        return None
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big", signed=True)
    return schema_id if schema_id > 0 else None


def unframe(value: bytes) -> tuple[int | None, bytes]:
    """Return the schema id and the document of a value; None and the value itself if it is not framed."""
    schema_id = schema_id_of(value)
    return schema_id, value if schema_id is None else value[HEADER_BYTES:]
