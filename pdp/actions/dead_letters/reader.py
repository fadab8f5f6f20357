"""Dead letters read back: where a record came from, why it was refused, and how often.

Only reading belongs here; their headers are `platform_kafka.formats.dead_letter_headers`, and sending them back is
`pdp.actions.dead_letters.redrive`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from platform_core.domain.catalog import Domain
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders, identity_of
from platform_kafka.reader import OperatorKafka
from platform_kafka.records import Message, headers_of, kafka_datetime
from platform_kafka.topics import dlq_name

UNKNOWN = "unknown"
"""The error class of a record in a dead-letter topic that no program of the platform has written."""


@dataclass(frozen=True)
class DeadLetter:
    """A refused record.

    Attributes:
        message: As it lies in the dead-letter topic; its value is None also when it was omitted.
        at: When it was refused, UTC; None if the broker has no time for it.
        refusal: What its headers say.
    """

    message: Message
    at: datetime | None
    refusal: DeadLetterHeaders

    @property
    def error_class(self) -> str:
        """Why the record was refused, as one word."""
        return self.refusal.error_class or UNKNOWN

    @property
    def attempt(self) -> int:
        """How many times the record has been refused."""
        return max(self.refusal.attempt, 1)

    @property
    def identity(self) -> str:
        """What is the same for the same refusal, however many dead letters a killed sink wrote of it."""
        return f"{identity_of(self.message)}/{self.attempt}"

    @property
    def address(self) -> str:
        """Where the dead letter is, for people."""
        return f"{self.message.topic()}[{self.message.partition()}]@{self.message.offset()}"

    @property
    def origin(self) -> str:
        """Where the record was, for people."""
        refusal = self.refusal
        if refusal.offset < 0:
            return f"{refusal.topic} (refused by its producer)" if refusal.topic else ""
        return f"{refusal.topic}[{refusal.partition}]@{refusal.offset}"


def dead_letters(
    kafka: OperatorKafka, domain: Domain, *, since: datetime | None = None, first_offset: int = 0
) -> Iterator[DeadLetter]:
    """Yield a domain's dead letters, oldest first; those that come meanwhile are left for the next reading.

    Args:
        since: Leave out what was refused before.
        first_offset: Leave out what lies before this offset of the dead-letter topic.

    Raises:
        PermanentError: the dead-letter topic does not exist.
        TransientError: Kafka does not answer.
    """
    partitions = kafka.partitions(dlq_name(domain))
    bounds = kafka.bounds(partitions)
    since_offsets = kafka.offsets_at(partitions, since) if since is not None else {}
    starts = {tp: max(bounds[tp].begin, first_offset, since_offsets.get(tp, 0)) for tp in partitions}
    for message in kafka.read(starts, {tp: bounds[tp].end for tp in partitions}):
        at = kafka_datetime(message)
        if since is None or at is None or at >= since:
            yield DeadLetter(message, at, DeadLetterHeaders.parse(headers_of(message)))


def select(
    kafka: OperatorKafka, domain: Domain, limit: int, error: str | None, since: datetime | None, offset: int | None
) -> list[DeadLetter]:
    """Return at most `limit` dead letters: those from an offset on, the newest without one."""
    first = offset or 0
    if offset is None and error is None and since is None:
        # The newest ones, without reading all that came before.
        first = max(bounds.end for bounds in kafka.bounds(kafka.partitions(dlq_name(domain))).values()) - limit
    selected: deque[DeadLetter] = deque(maxlen=limit)
    for dead_letter in dead_letters(kafka, domain, since=since, first_offset=first):
        if error in (None, dead_letter.error_class):
            selected.append(dead_letter)
            if offset is not None and len(selected) == limit:
                break
    return list(selected)
