"""Refused records on their way to `dlq-<topic>`, with their bytes unchanged and their reason in headers.

A letter holds its offset back from being committed until the broker has confirmed it. Why a record is refused
is decided in `sink.decoding`; sending letters back belongs to the operators' tools (docs/operations.md).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_kafka import dead_letter_headers
from platform_kafka.dead_letter_headers import DeadLetterHeaders
from platform_kafka.records import Headers, Message, TopicPartition, kafka_datetime
from platform_kafka.topics import dlq_name
from sink.broker import OnDelivery, Publisher, RecordTooLargeError
from sink.decoding import Refusal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Letter:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        return len(self.key or b"") + len(self.value or b"") + 1_000


class DeadLetters:
    """Letters that the broker has not confirmed yet.

    Args:
        publisher: Sends them.
        domains: The domains whose topics are consumed.
    """

    def __init__(self, publisher: Publisher, domains: Collection[Domain]) -> None:
        self._publisher = publisher
        self._topics = {domain.topic.name: dlq_name(domain) for domain in domains}
        self._open: dict[tuple[TopicPartition, int], _Letter] = {}
        self._unsent: dict[tuple[TopicPartition, int], None] = {}
        self._failure: PermanentError | None = None

    @property
    def size(self) -> int:
        """Bytes that unconfirmed letters hold."""
        return sum(letter.size for letter in self._open.values())

    @property
    def open(self) -> int:
        """Number of unconfirmed letters."""
        return len(self._open)

    def send(self, message: Message, refusal: Refusal) -> None:
        """Take a refused record; it is delivered by and by, see `pump`."""
        where = (message.topic(), message.partition())
        place = (where, message.offset())
        self._open[place] = _Letter(
            self._topics[message.topic()], message.key(), message.value(), _headers(message, refusal)
        )
        self._unsent[place] = None

    def pump(self) -> None:
        """Hand letters to the publisher and take its confirmations, without waiting.

        Raises:
            PermanentError: the broker refuses a letter for good, for example because the topic does not
            exist.
        """
        for place in list(self._unsent):
            letter = self._open[place]
            try:
                self._publisher.publish(
                    letter.topic, letter.key, letter.value, letter.headers, self._confirmation(place)
                )
            except TransientError:
                break  # the queue is full; the next call goes on here
            except RecordTooLargeError as error:
                self._omit_value(place, error)
                continue
            del self._unsent[place]
        self._publisher.poll()
        if self._failure is not None:
            raise self._failure

    def floors(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset whose letter is not confirmed."""
        result: dict[TopicPartition, int] = {}
        for where, offset in self._open:
            result[where] = min(offset, result.get(where, offset))
        return result

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the letters of partitions that this process no longer owns; their new owner sends them."""
        for place in [place for place in self._open if place[0] in partitions]:
            del self._open[place]
            self._unsent.pop(place, None)

    def _confirmation(self, place: tuple[TopicPartition, int]) -> OnDelivery:
        def confirmed(error: PlatformError | None) -> None:
            if error is None:
                self._open.pop(place, None)
            elif place not in self._open:
                return
            elif isinstance(error, RecordTooLargeError):
                self._omit_value(place, error)
            elif isinstance(error, PermanentError):
                self._failure = error
            else:
                log.warning("dead_letter_delayed topic=%s partition=%d offset=%d error=%s", *place[0], place[1], error)
                self._unsent[place] = None

        return confirmed

    def _omit_value(self, place: tuple[TopicPartition, int], error: RecordTooLargeError) -> None:
        # A highly compressible record can pass the raw topic's limit and exceed the letter's. Stopping would
        # block the partition for good; the bytes stay in the raw topic, where the letter's headers point.
        letter = self._open[place]
        if letter.value is None:
            self._failure = error
            return
        log.error("dead_letter_without_value topic=%s partition=%d offset=%d error=%s", *place[0], place[1], error)
        headers = dead_letter_headers.without_value(letter.headers, len(letter.value))
        self._open[place] = replace(letter, value=None, headers=headers)
        self._unsent[place] = None


def _headers(message: Message, refusal: Refusal) -> Headers:
    # A dead letter that was sent back and refused again carries the headers of its last refusal.
    before = DeadLetterHeaders.parse(message.headers())
    return [
        *dead_letter_headers.own_headers(message.headers()),
        *dead_letter_headers.write(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp=kafka_datetime(message),
            error_class=refusal.reason,
            error=refusal.message,
            schema_id=refusal.schema_id,
            attempt=before.attempt + 1,
        ),
    ]
