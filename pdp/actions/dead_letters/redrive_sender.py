"""The producer of a redrive: each letter, and after the broker's ack the record that says so.

Only sending belongs here; which letters is decided in `pdp.actions.dead_letters.redrive`. Without Kafka's transactions
the two writes are not atomic; the order makes a crash send a letter twice rather than never (at-least-once,
https://docs.confluent.io/kafka/design/delivery-semantics.html).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

import confluent_kafka as ck

from pdp.actions.dead_letters.reader import Letter
from pdp.actions.dead_letters.redrive_ledger import Fate, entry
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_kafka.clients import librdkafka
from platform_kafka.dead_letter_headers import on_the_way_back
from platform_kafka.records import Headers
from platform_kafka.topics import RAW_MAX_MESSAGE_BYTES, parked_name, redriven_name

WINDOW = 500
"""Letters in flight: enough for 10,000 letters a second and few enough to send twice after a kill."""

DELIVERY_SECONDS = 30.0


class Sender:
    """Sends letters and writes the ledger.

    Args:
        client_config: librdkafka's connection settings.
        domain: The letters' domain.
        operator: Who asks.
        now: The current time, UTC.
        window: Letters in flight.
        refused: Called with a letter that the broker does not take, and why.
    """

    def __init__(
        self,
        client_config: dict[str, Any],
        domain: Domain,
        operator: str,
        now: Callable[[], datetime],
        window: int,
        refused: Callable[[Letter, str], None],
    ) -> None:
        self._topics = {Fate.SENT: domain.topic.name, Fate.PARKED: parked_name(domain)}
        self._ledger = redriven_name(domain)
        self._operator, self._now, self._window, self._refused = operator, now, window, refused
        self._in_flight = 0
        self._taken: deque[tuple[Letter, Fate]] = deque()
        self._failure: TransientError | PermanentError | None = None
        self.acknowledged: Counter[Fate] = Counter()
        self._producer = ck.Producer(
            {
                **client_config,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # the same key goes to the partition that it came from
                # The broker applies the topic's limit to the compressed batch.
                "message.max.bytes": 16 * RAW_MAX_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": 131_072,
                "compression.type": "zstd",
                "linger.ms": 5,
                "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
            },
            logger=librdkafka,
        )

    def send(self, letter: Letter, value: bytes | None, fate: Fate) -> None:
        """Queue a letter for the raw topic or for the parked ones; waits while too many are in flight.

        Raises:
            PermanentError: the broker refuses the topic.
            TransientError: the broker takes nothing for 30 s.
        """
        while self._in_flight >= self._window:
            self._turn(0.1)
        self._in_flight += 1
        headers = on_the_way_back(letter.headers) if fate is Fate.SENT else letter.headers

        def delivered(error: ck.KafkaError | None, _: ck.Message | None) -> None:
            if error is None:
                self._taken.append((letter, fate))
                return
            self._in_flight -= 1
            if error.code() == ck.KafkaError.MSG_SIZE_TOO_LARGE:
                self._refused(letter, f"`{self._topics[fate]}` does not take a record of this size: {error.str()}.")
            else:
                self._fail(self._topics[fate], error)

        self._produce(self._topics[fate], value, letter.key, headers, delivered)
        self._turn(0)

    def finish(self) -> None:
        """Wait until everything is delivered and written down.

        Raises:
            PermanentError: the broker refuses a topic.
            TransientError: the broker takes nothing for 30 s.
        """
        while self._in_flight:
            self._turn(0.1)

    def _turn(self, seconds: float) -> None:
        """Run callbacks, and write down what the broker has taken."""
        self._producer.poll(seconds)
        # Not in the callback itself: while the queue is full it would have to poll, that is, to call itself.
        while self._taken:
            self._write_down(*self._taken.popleft())
        if self._failure is not None:
            raise self._failure

    def _write_down(self, letter: Letter, fate: Fate) -> None:
        def written(error: ck.KafkaError | None, _: ck.Message | None) -> None:
            self._in_flight -= 1
            if error is None:
                self.acknowledged[fate] += 1
            else:
                self._fail(self._ledger, error)

        record = entry(letter, fate, self._now(), self._operator)
        self._produce(self._ledger, record.value, record.key, (), written)

    def _produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        delivered: Callable[[ck.KafkaError | None, ck.Message | None], None],
    ) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise TransientError(f"The queue for `{topic}` stays full: Kafka takes nothing.") from None
                self._producer.poll(0.1)
            except ck.KafkaException as error:
                delivered(error.args[0], None)
                return

    def _fail(self, topic: str, error: ck.KafkaError) -> None:
        refused = error.code() in (
            ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
            ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
            ck.KafkaError._UNKNOWN_TOPIC,
        )
        if refused:
            self._failure = PermanentError(
                f"Kafka refuses a record for `{topic}`: {error.str()}. Create the topic with"
                " `python -m producers provision`, or allow the user to write it. Then run the command again: it goes"
                " on where it stopped.",
                topic=topic,
            )
        else:
            self._failure = TransientError(
                f"Kafka did not take a record for `{topic}`: {error.str()}. Run the command again: it goes on where it"
                f" stopped; at most {self._window} letters are sent twice.",
                topic=topic,
            )
