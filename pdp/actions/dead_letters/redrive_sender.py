"""The producer of a redrive: a batch of dead letters, and after the broker's acks the records that say so.

Only sending belongs here; which dead letters is decided in `pdp.actions.dead_letters.redrive`. Without Kafka's
transactions, whose markers would be offsets that no layer accounts for, the two writes are not atomic; the order makes
a crash send a batch twice rather than never (at-least-once,
https://docs.confluent.io/kafka/design/delivery-semantics.html).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import confluent_kafka as ck

from pdp.actions.dead_letters.reader import DeadLetter
from pdp.actions.dead_letters.redrive_ledger import Fate, ledger_value
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_kafka.clients import librdkafka
from platform_kafka.formats.dead_letter_headers import on_the_way_back
from platform_kafka.records import Headers, headers_of
from platform_kafka.topics import RAW_MAX_MESSAGE_BYTES, parked_name, redriven_name

DELIVERY_SECONDS = 30.0

Refused = list[tuple[DeadLetter, str]]
Record = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, value, key and headers."""


class Outgoing(NamedTuple):
    """A dead letter that is to be sent or parked, with its whole value."""

    dead_letter: DeadLetter
    fate: Fate
    value: bytes | None


class Sender:
    """Sends dead letters and writes the ledger.

    Args:
        client_config: librdkafka's connection settings.
        domain: The dead letters' domain.
        operator: Who asks.
        now: The current time, UTC.
    """

    def __init__(
        self, client_config: dict[str, Any], domain: Domain, operator: str, now: Callable[[], datetime]
    ) -> None:
        self._topics = {Fate.SENT: domain.topic.name, Fate.PARKED: parked_name(domain)}
        self._ledger = redriven_name(domain)
        self._operator, self._now = operator, now
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
                "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
            },
            logger=librdkafka,
        )

    def send(self, batch: Sequence[Outgoing]) -> Refused:
        """Send a batch, wait for the acks, write down what the broker has taken.

        Returns:
            The dead letters that are too large for their topic, and why.

        Raises:
            PermanentError: the broker refuses a topic.
            TransientError: the broker takes nothing for 30 s.
        """
        errors = self._deliver([self._record(each) for each in batch])
        taken = [each for each, error in zip(batch, errors, strict=True) if error is None]
        at = self._now()
        entries: list[Record] = [
            (self._ledger, ledger_value(letter, fate, at, self._operator), letter.identity.encode(), ())
            for letter, fate, _ in taken
        ]
        refused: Refused = []
        failures = [(self._ledger, error) for error in self._deliver(entries) if error is not None]
        for (dead_letter, fate, _), error in zip(batch, errors, strict=True):
            topic = self._topics[fate]
            if error is not None and error.code() == ck.KafkaError.MSG_SIZE_TOO_LARGE:
                refused.append((dead_letter, f"`{topic}` does not take a record of this size: {error.str()}."))
            elif error is not None:
                failures.append((topic, error))
        if failures:
            raise _failure(*failures[-1])
        return refused

    def _record(self, outgoing: Outgoing) -> Record:
        message = outgoing.dead_letter.message
        headers = headers_of(message) or ()
        back = on_the_way_back(headers) if outgoing.fate is Fate.SENT else headers
        return self._topics[outgoing.fate], outgoing.value, message.key(), back

    def _deliver(self, records: Sequence[Record]) -> list[ck.KafkaError | None]:
        """Return the error of each record, None of one that the broker has taken."""
        errors: list[ck.KafkaError | None] = [None] * len(records)

        def note(number: int) -> Callable[[ck.KafkaError | None, ck.Message | None], None]:
            def delivered(error: ck.KafkaError | None, _: ck.Message | None) -> None:
                errors[number] = error

            return delivered

        for number, (topic, value, key, headers) in enumerate(records):
            try:
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=note(number))
            except ck.KafkaException as error:
                errors[number] = error.args[0]
        self._producer.flush()  # ends, for each record has its report after 30 s at the latest
        return errors


def _failure(topic: str, error: ck.KafkaError) -> PermanentError | TransientError:
    refused = error.code() in (
        ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
        ck.KafkaError._UNKNOWN_TOPIC,
    )
    if refused:
        return PermanentError(
            f"Kafka refuses a record for `{topic}`: {error.str()}. Create the topic with"
            " `python -m producers provision`, or allow the user to write it. Then run the command again: it goes"
            " on where it stopped.",
        )
    return TransientError(
        f"Kafka did not take a record for `{topic}`: {error.str()}. Run the command again: it goes on where it"
        " stopped; at most one batch of dead letters is sent twice.",
    )
