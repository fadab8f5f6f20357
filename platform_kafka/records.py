"""What a record is made of: its address, the wire format of key and value, the headers of a dead letter.

How a record of the platform's own topics and the footer of a Bronze file are written and parsed belongs here too.
Reading a topic belongs to `platform_kafka.reader`, what a record means to its contract.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from platform_kafka.offset_ranges import OffsetRanges

TopicPartition = tuple[str, int]
Headers = Sequence[tuple[str, bytes | None]]

LATEST_MICROSECONDS = 253_402_300_799_999_999  # the end of the year 9999, the last that Python and Spark can show

HEADER_PREFIX = "dlq."
FOOTER_OFFSETS = b"pdp.offsets"
FOOTER_DOMAIN = b"pdp.domain"

HEADER_BYTES = 5


class Message(Protocol):
    """A consumed record as the client hands it over; copying it into an own type would cost 1 µs each."""

    def topic(self) -> str:
        """Return the topic."""
        ...

    def partition(self) -> int:
        """Return the Kafka partition."""
        ...

    def offset(self) -> int:
        """Return the offset."""
        ...

    def key(self) -> bytes | None:
        """Return the key's bytes."""
        ...

    def value(self) -> bytes | None:
        """Return the value's bytes."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of timestamp (0 is none) and the milliseconds since 1970."""
        ...

    def headers(self) -> Headers | None:
        """Return the headers."""
        ...


def kafka_timestamp(message: Message) -> int | None:
    """Return a record's Kafka timestamp in microseconds since 1970, None if it has none that makes sense.

    A producer may set any 64-bit number.
    """
    kind, milliseconds = message.timestamp()
    return milliseconds * 1000 if kind and 0 <= milliseconds * 1000 <= LATEST_MICROSECONDS else None


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
    return [(HEADER_PREFIX + name, str(value).encode()) for name, value in facts.items()]


def offsets_json(offsets: Mapping[int, OffsetRanges]) -> dict[str, list[list[int]]]:
    """Return offsets by partition as the footer and the ledger hold them, for example `{"0": [[10, 57], [60, 60]]}`."""
    return {str(partition): ranges.to_json() for partition, ranges in offsets.items()}


def offsets_from_json(value: object) -> dict[int, OffsetRanges]:
    """Return what `offsets_json` wrote.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object of offsets by partition")
    return {int(partition): OffsetRanges.from_json(ranges) for partition, ranges in value.items()}
