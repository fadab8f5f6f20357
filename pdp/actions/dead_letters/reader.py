"""Dead letters read back: where a record came from, why it was refused, and how often.

Only reading belongs here; the sink's letters are written by `sink.dead_letters`, the producers' by
`platform_kafka.records`, and sending them back is `pdp.actions.dead_letters.redrive`. The idea is
https://www.enterpriseintegrationpatterns.com/patterns/messaging/DeadLetterChannel.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from platform_core.domain.catalog import Domain
from platform_kafka.reader import OperatorKafka
from platform_kafka.records import Message, kafka_timestamp
from platform_kafka.topics import dlq_name

PREFIX = "dlq."
UNKNOWN = "unknown"
"""The error class of a record in a dead-letter topic that no program of the platform has written."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Letter:
    """A refused record.

    Attributes:
        topic: The dead-letter topic.
        partition: Its partition.
        offset: The letter's offset there.
        at: When it was refused, UTC; None if the broker has no time for it.
        key: The record's key.
        value: The record's value; None also when it was omitted.
        headers: All headers, the record's own first.
        origin_topic: Where the record was, or was meant to go.
        origin_partition: -1 when a producer refused the record and it never was in a topic.
        origin_offset: Likewise.
        origin_timestamp: The record's own time, as ISO text; empty if it had none.
        error_class: Why it was refused, as one word.
        error: Why it was refused, as a sentence.
        schema_id: The writer's schema.
        attempt: How many times it has been refused.
        omitted_bytes: Size of a value that was too large for a letter and stayed in the raw topic.
    """

    topic: str
    partition: int
    offset: int
    at: datetime | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    origin_topic: str
    origin_partition: int
    origin_offset: int
    origin_timestamp: str
    error_class: str
    error: str
    schema_id: int | None
    attempt: int
    omitted_bytes: int | None

    @property
    def identity(self) -> str:
        """What is the same for the same refusal, however many letters a killed sink wrote of it.

        The record's time is in it because offsets begin again when a topic is made anew.
        """
        if self.origin_offset >= 0:
            place = f"{self.origin_topic}/{self.origin_partition}/{self.origin_offset}/{self.origin_timestamp}"
        else:
            at = self.at.isoformat() if self.at else ""
            place = f"{self.topic}/{self.partition}/{self.offset}/{at}"
        return f"{place}/{self.attempt}"

    @property
    def place(self) -> str:
        """Where the letter is, for people."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def origin(self) -> str:
        """Where the record was, for people."""
        if self.origin_offset < 0:
            return f"{self.origin_topic} (refused by its producer)" if self.origin_topic else ""
        return f"{self.origin_topic}[{self.origin_partition}]@{self.origin_offset}"


def letter(message: Message) -> Letter:
    """Return a record of a dead-letter topic as a letter, whatever its headers are."""
    headers = tuple(message.headers() or ())
    facts = {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX)}
    microseconds = kafka_timestamp(message)

    def text(name: str) -> str:
        return (facts.get(name) or b"").decode("utf-8", "backslashreplace")

    def number(name: str) -> int | None:
        try:
            return int(text(name))
        except ValueError:
            return None

    origin_partition, origin_offset = number("partition"), number("offset")
    return Letter(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        at=None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds),
        key=message.key(),
        value=message.value(),
        headers=headers,
        origin_topic=text("topic"),
        origin_partition=-1 if origin_partition is None else origin_partition,
        origin_offset=-1 if origin_offset is None else origin_offset,
        origin_timestamp=text("timestamp"),
        error_class=text("error_class") or UNKNOWN,
        error=text("error"),
        schema_id=number("schema_id"),
        attempt=max(number("attempt") or 1, 1),
        omitted_bytes=number("value_omitted_bytes"),
    )


def letters(
    kafka: OperatorKafka,
    domain: Domain,
    *,
    since: datetime | None = None,
    first_offset: int | None = None,
) -> Iterator[Letter]:
    """Yield a domain's letters, oldest first; those that come meanwhile are left for the next reading.

    Args:
        kafka: The connection.
        domain: The domain.
        since: Leave out what was refused before.
        first_offset: Leave out what lies before this offset of the dead-letter topic.

    Raises:
        PermanentError: the dead-letter topic does not exist.
        TransientError: Kafka does not answer.
    """
    partitions = kafka.partitions(dlq_name(domain))
    bounds = kafka.bounds(partitions)
    starts = {where: max(bounds[where].begin, first_offset or 0) for where in partitions}
    if since is not None:
        found = kafka.offsets_at(partitions, since)
        starts = {where: max(start, found[where]) for where, start in starts.items()}
    for message in kafka.read(starts, {where: bounds[where].end for where in partitions}):
        found_letter = letter(message)
        if since is None or found_letter.at is None or found_letter.at >= since:
            yield found_letter
