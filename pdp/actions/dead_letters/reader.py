"""Dead letters read back: where a record came from, why it was refused, and how often.

Only reading belongs here; their headers are `platform_kafka.dead_letter_headers`, and sending them back is
`pdp.actions.dead_letters.redrive`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from platform_core.domain.catalog import Domain
from platform_kafka.dead_letter_headers import DeadLetterHeaders
from platform_kafka.reader import OperatorKafka
from platform_kafka.records import Message, kafka_datetime
from platform_kafka.topics import dlq_name

UNKNOWN = "unknown"
"""The error class of a record in a dead-letter topic that no program of the platform has written."""


@dataclass(frozen=True)
class Letter:
    """A refused record.

    Attributes:
        topic: The dead-letter topic.
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
    facts = DeadLetterHeaders.parse(message.headers())
    return Letter(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        at=kafka_datetime(message),
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
        origin_topic=facts.topic,
        origin_partition=facts.partition,
        origin_offset=facts.offset,
        origin_timestamp=facts.timestamp,
        error_class=facts.error_class or UNKNOWN,
        error=facts.error,
        schema_id=facts.schema_id,
        attempt=max(facts.attempt, 1),
        omitted_bytes=facts.omitted_bytes,
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
