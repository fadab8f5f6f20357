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
from platform_core.errors import PlatformError
from platform_kafka.clients import librdkafka
from platform_kafka.formats.dead_letter_headers import on_the_way_back
from platform_kafka.publishing import PRODUCER_CONFIG, RecordTooLargeError, delivery_error
from platform_kafka.records import Headers, headers_of
from platform_kafka.topics import parked_name, redriven_name

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
                **PRODUCER_CONFIG,
                "queue.buffering.max.kbytes": 131_072,
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
            (
                self._ledger,
                ledger_value(each.dead_letter, each.fate, at, self._operator),
                each.dead_letter.identity.encode(),
                (),
            )
            for each in taken
        ]
        failures = [error for error in self._deliver(entries) if error is not None]
        failures += [error for error in errors if error is not None and not isinstance(error, RecordTooLargeError)]
        for failure in failures:
            raise type(failure)(
                f"{failure.message} Run the command again: it goes on where it stopped; at most one batch of dead"
                " letters is sent twice."
            )
        return [(each.dead_letter, error.message) for each, error in zip(batch, errors, strict=True) if error]

    def _record(self, outgoing: Outgoing) -> Record:
        message = outgoing.dead_letter.message
        headers = headers_of(message) or ()
        back = on_the_way_back(headers) if outgoing.fate is Fate.SENT else headers
        return self._topics[outgoing.fate], outgoing.value, message.key(), back

    def _deliver(self, records: Sequence[Record]) -> list[PlatformError | None]:
        """Return the error of each record, None of one that the broker has taken."""
        errors: list[PlatformError | None] = [None] * len(records)

        def note(number: int, topic: str) -> Callable[[ck.KafkaError | None, ck.Message | None], None]:
            def delivered(error: ck.KafkaError | None, _: ck.Message | None) -> None:
                errors[number] = None if error is None else delivery_error(topic, error)

            return delivered

        for number, (topic, value, key, headers) in enumerate(records):
            report = note(number, topic)
            try:
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=report)
            except ck.KafkaException as error:
                report(error.args[0], None)
        self._producer.flush()  # ends, for each record has its report after 30 s at the latest
        return errors
