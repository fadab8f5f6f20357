"""What every record of Kafka has: its topic partition, its key, its time, its headers.

The form of a value is `platform_kafka.formats.wire_format`, that of a dead letter
`platform_kafka.formats.dead_letter_headers`; what a record means belongs to its contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

TopicPartition = tuple[str, int]
Header = tuple[str, bytes | None]
Headers = Sequence[Header]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST_MICROSECONDS = 253_402_300_799_999_999  # the end of the year 9999, the last that Python and Spark can show


class Message(Protocol):
    """A consumed record as the client hands it over; copying it into an own type would cost 1 µs each."""

    def topic(self) -> str:
        """Return the topic."""

    def partition(self) -> int:
        """Return the Kafka partition."""

    def offset(self) -> int:
        """Return the offset."""

    def key(self) -> bytes | None:
        """Return the key's bytes."""

    def value(self) -> bytes | None:
        """Return the value's bytes."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of timestamp (0 is none) and the milliseconds since 1970."""

    def headers(self) -> Headers | None:
        """Return the headers."""


def kafka_timestamp(message: Message) -> int | None:
    """Return a record's Kafka timestamp in microseconds since 1970, None if it has none that makes sense.

    A producer may set any 64-bit number.
    """
    kind, milliseconds = message.timestamp()
    return milliseconds * 1000 if kind and 0 <= milliseconds * 1000 <= LATEST_MICROSECONDS else None


def kafka_datetime(message: Message) -> datetime | None:
    """Return a record's Kafka timestamp, UTC; None if it has none that makes sense."""
    microseconds = kafka_timestamp(message)
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def headers_of(message: Message) -> Headers | None:
    """Return a record's headers; None if the client cannot read them.

    A header's name may have any bytes on the wire, and librdkafka's Python client raises for one that is not UTF-8: no
    header of the record can be read then.
    """
    try:
        return message.headers() or ()
    except (SystemError, ValueError):
        return None


def encode_key(key: object) -> bytes:
    """Return a record's key: the key field as text."""
    return str(key).encode()
