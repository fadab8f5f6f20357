"""Refused records on their way to `dlq-<topic>`, with their bytes unchanged and their reason in headers.

A dead letter holds its offset back from being committed until the broker has confirmed it. No header, key, size or
value of a record may end the sink: what cannot be kept is left out, and the headers say so. Why a record is refused is
decided in `sink.records.decoding`; sending dead letters back belongs to the operators' tools (docs/operations.md).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property, partial

from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_kafka.formats import dead_letter_headers
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders, own_headers, without
from platform_kafka.publishing import RecordTooLargeError
from platform_kafka.records import Headers, Message, TopicPartition, headers_of, kafka_datetime
from platform_kafka.topics import dlq_name
from sink.consuming.broker import Publisher
from sink.consuming.offsets import lowest
from sink.consuming.unusable_topics import RETRY_SECONDS
from sink.records.decoding import Refusal

log = logging.getLogger(__name__)

# What a header costs beside its bytes: a tuple and two objects.
HEADER_BYTES = 150


Origin = tuple[TopicPartition, int]
"""Where a refused record is: topic, partition and offset."""


@dataclass(frozen=True)
class _DeadLetter:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @cached_property
    def size(self) -> int:
        of_headers = sum(len(name) + len(value or b"") + HEADER_BYTES for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + of_headers

    def smaller(self) -> _DeadLetter | None:
        """What is left of it without its value, then its record's headers, then its key; None if nothing can go."""
        if self.value is not None:
            return replace(self, value=None, headers=without("value", len(self.value), self.headers))
        if own := own_headers(self.headers):
            return replace(self, headers=without("headers", len(own), self.headers))
        if self.key is not None:
            return replace(self, key=None, headers=without("key", len(self.key), self.headers))
        return None


class DeadLetters:
    """Dead letters that the broker has not confirmed yet.

    Args:
        publisher: Sends them.
        domains: The domains whose topics are consumed.

    Attributes:
        blocked: Topic to why its dead-letter topic takes none; its dead letters are kept, and one at a time tries.
    """

    def __init__(self, publisher: Publisher, domains: Collection[Domain]) -> None:
        self._publisher = publisher
        self._topics = {domain.topic.name: dlq_name(domain) for domain in domains}
        self._open: dict[Origin, _DeadLetter] = {}
        self._unsent: dict[Origin, None] = {}
        self._retry_at: dict[str, float] = {}
        self._now = 0.0
        self.blocked: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes that unconfirmed dead letters hold."""
        return sum(dead_letter.size for dead_letter in self._open.values())

    @property
    def open(self) -> int:
        """Number of unconfirmed dead letters."""
        return len(self._open)

    @property
    def sendable(self) -> int:
        """Number of unconfirmed dead letters whose topic takes some."""
        return sum(tp[0] not in self.blocked for tp, _ in self._open)

    def send(self, message: Message, refusal: Refusal) -> None:
        """Take a refused record; it is delivered by and by, see `pump`."""
        topic = message.topic()
        origin = ((topic, message.partition()), message.offset())
        headers = _headers(message, refusal)
        self._open[origin] = _DeadLetter(self._topics[topic], message.key(), message.value(), headers)
        self._unsent[origin] = None

    def pump(self, now: float) -> None:
        """Hand dead letters to the publisher and take its confirmations, without waiting.

        Args:
            now: Seconds of a clock that never steps back.
        """
        self._now = now
        for origin in list(self._unsent):
            topic = origin[0][0]
            if topic in self.blocked:
                if now < self._retry_at[topic]:
                    continue
                self._retry_at[topic] = now + RETRY_SECONDS
            dead_letter = self._open[origin]
            try:
                self._publisher.publish(
                    dead_letter.topic,
                    dead_letter.key,
                    dead_letter.value,
                    dead_letter.headers,
                    partial(self._delivered, origin),
                )
            except TransientError:
                break  # the queue is full; the next call goes on here
            except RecordTooLargeError as error:
                self._shrink(origin, error)
                continue
            except PermanentError as error:
                self._block(origin, error)
                continue
            del self._unsent[origin]
        self._publisher.poll()

    def min_pending_offsets(self) -> dict[TopicPartition, int]:
        """Return for each Kafka partition the lowest offset whose dead letter is not confirmed."""
        return lowest(*({tp: offset} for tp, offset in self._open))

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the dead letters of partitions that this process no longer owns; their new owner sends them."""
        for origin in [origin for origin in self._open if origin[0] in partitions]:
            del self._open[origin]
            self._unsent.pop(origin, None)
        for topic in set(self.blocked) - {tp[0] for tp, _ in self._open}:
            del self.blocked[topic]

    def _delivered(self, origin: Origin, error: PlatformError | None) -> None:
        if error is None:
            self._open.pop(origin, None)
            self.blocked.pop(origin[0][0], None)
        elif origin not in self._open:
            return
        elif isinstance(error, RecordTooLargeError):
            self._shrink(origin, error)
        elif isinstance(error, PermanentError):
            self._block(origin, error)
        else:
            log.warning("dead_letter_delayed topic=%s partition=%d offset=%d error=%s", *origin[0], origin[1], error)
            self._unsent[origin] = None

    def _shrink(self, origin: Origin, error: RecordTooLargeError) -> None:
        # A highly compressible record can pass the raw topic's limit and exceed the dead letter's. Stopping would
        # block the partition for good; the bytes stay in the raw topic, to which the headers point.
        smaller = self._open[origin].smaller()
        if smaller is None:
            self._block(origin, error)
            return
        log.error("dead_letter_shortened topic=%s partition=%d offset=%d error=%s", *origin[0], origin[1], error)
        self._open[origin] = smaller
        self._unsent[origin] = None

    def _block(self, origin: Origin, error: PermanentError) -> None:
        topic = origin[0][0]
        self._unsent[origin] = None
        self._retry_at[topic] = self._now + RETRY_SECONDS
        self.blocked[topic] = (
            f"{error.message} No more of `{topic}` is read until its dead letters are taken; the sink tries again, and"
            " nothing is lost."
        )


def _headers(message: Message, refusal: Refusal) -> Headers:
    own = headers_of(message)
    # A dead letter that was sent back and refused again carries the headers of its last refusal.
    headers = [
        *own_headers(own),
        *dead_letter_headers.write(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp=kafka_datetime(message),
            error_class=refusal.reason,
            error=refusal.message,
            schema_id=refusal.schema_id,
            attempt=DeadLetterHeaders.parse(own).attempt + 1,
        ),
    ]
    return headers if own is not None else without("headers", "unreadable", headers)
