"""The headers of a dead letter: where its record was, why it was refused, and how often.

Add a header here, to `write` and to `DeadLetterHeaders`. Sending a dead letter belongs to who refuses a record, sending
one back to `pdp.actions.dead_letters`; docs/operations.md says what each error class means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from platform_kafka.records import Header, Headers, Message, headers_of, kafka_datetime

_PREFIX = "dlq."
_ATTEMPT = _PREFIX + "attempt"
_IDENTITY = _PREFIX + "identity"
_OMITTED = {
    "value": _PREFIX + "value_omitted_bytes",
    "headers": _PREFIX + "headers_omitted",
    "key": _PREFIX + "key_omitted_bytes",
}
_NUMBERS = range(-(2**63), 2**63)

ERROR_CHARACTERS = 1_000
DEFAULT_MAX_ATTEMPTS = 3
"""A dead letter that was refused so often is parked, if nobody asks for another number."""
NEVER_WRITTEN = -1
"""Partition and offset of a record that its producer refused: it never was in the topic."""


@dataclass(frozen=True)
class DeadLetterHeaders:
    """What the headers of a dead letter say; whatever is missing or unreadable has its empty value.

    Attributes:
        topic: The topic that the record was in, or was meant for.
        partition: Its partition; -1 if the record never was in a topic.
        offset: Its offset; likewise.
        timestamp: The record's own time, as ISO text.
        error_class: Why it was refused, as one word.
        error: Why it was refused, as a sentence.
        schema_id: The writer's schema.
        attempt: How many times it has been refused; 0 if no header says so.
        omitted_bytes: Size of a value that was too large for a dead letter and stayed in the raw topic.
        identity: Of a dead letter that was written again elsewhere, what identified it before.
    """

    topic: str = ""
    partition: int = NEVER_WRITTEN
    offset: int = NEVER_WRITTEN
    timestamp: str = ""
    error_class: str = ""
    error: str = ""
    schema_id: int | None = None
    attempt: int = 0
    omitted_bytes: int | None = None
    identity: str = ""

    @classmethod
    def parse(cls, headers: Headers | None) -> Self:
        """Return what a record's headers say; of two with one name the last counts."""
        facts = {name.removeprefix(_PREFIX): value for name, value in headers or () if name.startswith(_PREFIX)}

        def text(name: str) -> str:
            return (facts.get(name) or b"").decode("utf-8", "backslashreplace")

        def number(name: str) -> int | None:
            # Anybody may write a header. No number of Kafka has more than 64 bits; of 5,000 digits Python makes none.
            try:
                found = int(text(name))
            except ValueError:
                return None
            return found if found in _NUMBERS else None

        partition, offset = number("partition"), number("offset")
        return cls(
            topic=text("topic"),
            partition=NEVER_WRITTEN if partition is None else partition,
            offset=NEVER_WRITTEN if offset is None else offset,
            timestamp=text("timestamp"),
            error_class=text("error_class"),
            error=text("error"),
            schema_id=number("schema_id"),
            attempt=max(number("attempt") or 0, 0),
            omitted_bytes=number("value_omitted_bytes"),
            identity=text("identity"),
        )

    @property
    def source(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the refused record; None if it never was in a topic."""
        if not self.topic or self.partition < 0 or self.offset < 0:
            return None
        return self.topic, self.partition, self.offset


def identity_of(message: Message) -> str:
    """Return what is the same of all dead letters of one record: a killed sink may have written several.

    The record's time is in it because offsets begin again when a topic is recreated. A record that its producer refused
    has no offset: its dead letter's counts, wherever that is written again.
    """
    refusal = DeadLetterHeaders.parse(headers_of(message))
    if refusal.identity:
        return refusal.identity
    if refusal.offset >= 0:
        return f"{refusal.topic}/{refusal.partition}/{refusal.offset}/{refusal.timestamp}"
    at = kafka_datetime(message)
    return f"{message.topic()}/{message.partition()}/{message.offset()}/{at.isoformat() if at else ''}"


def written_again(message: Message) -> list[Header]:
    """Return the headers of a dead letter that is written again behind the end of its topic."""
    kept = [(name, value) for name, value in headers_of(message) or () if name != _IDENTITY]
    return [*kept, (_IDENTITY, identity_of(message).encode())]


def write(
    *,
    topic: str,
    partition: int = NEVER_WRITTEN,
    offset: int = NEVER_WRITTEN,
    timestamp: datetime | None,
    error_class: str,
    error: str,
    schema_id: int | None,
    attempt: int = 1,
) -> list[Header]:
    """Return the headers of a new dead letter, see `DeadLetterHeaders`."""
    facts = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": "" if timestamp is None else timestamp.isoformat(),
        "error_class": error_class,
        "error": error[:ERROR_CHARACTERS],
        "schema_id": "" if schema_id is None else schema_id,
        "attempt": attempt,
    }
    return [(_PREFIX + name, str(value).encode()) for name, value in facts.items()]


def own_headers(headers: Headers | None) -> list[Header]:
    """Return the headers that the record had before it was refused."""
    return [(name, value) for name, value in headers or () if not name.startswith(_PREFIX)]


def without(what: str, size: object, headers: Iterable[Header]) -> list[Header]:
    """Return the headers of a dead letter of which a part is left out.

    Args:
        what: `value`, `headers` or `key`; the record's own headers are left out here.
        size: Its bytes, or how many headers; or why it cannot be read.
    """
    kept = headers if what != "headers" else [header for header in headers if header[0].startswith(_PREFIX)]
    return [*kept, (_OMITTED[what], str(size).encode())]


def on_the_way_back(headers: Headers) -> list[Header]:
    """Return the headers of a dead letter that is sent back with its whole value; the sink counts its attempts on."""
    kept = [(name, value) for name, value in headers if name not in _OMITTED.values()]
    if not any(name == _ATTEMPT for name, _ in kept):
        kept.append((_ATTEMPT, b"1"))
    return kept
