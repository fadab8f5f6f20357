"""One domain's way into Kafka: validate, frame, produce, wait for the reports, dead-letter what is refused.

A batch counts as delivered only when `deliver` returns; whoever keeps a watermark saves it after that and never
before. What a record contains belongs to its source, how it looks on the wire to
`platform_kafka.formats.wire_format`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient

from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alerts import AlertKind
from platform_core.settings import Settings
from platform_kafka.clients import connect_producer
from platform_kafka.formats import dead_letter_headers
from platform_kafka.formats.refusal_reason import RefusalReason
from platform_kafka.formats.wire_format import decode_value, encode_value
from platform_kafka.publishing import REFUSED_FOR_GOOD
from platform_kafka.records import Headers, encode_key
from platform_kafka.registry import RegisteredContract, connect_registry, find_contract
from platform_kafka.topics import DLQ_MAX_MESSAGE_BYTES, dlq_name
from producers.metrics import ProducerMetrics
from producers.outage_alert import Outage, OutageError

log = logging.getLogger(__name__)

# Longer than librdkafka's delivery.timeout.ms, so that every report has come when it ends.
DELIVERY_SECONDS = 150.0

LOOK_UP_SECONDS = 5.0

ENVELOPE_BYTES = 65_536

_PERMANENT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.INVALID_RECORD,
    KafkaError._FATAL,
}


class TopicUnusableError(OutageError):
    """A topic does not exist, or its user may not write it: a person mends it, and the records are sent again.

    Args:
        topic: Which.
        message: As of every `PlatformError`.
    """

    def __init__(self, topic: str, message: str) -> None:
        # A round that is refused has sent the good records of its stretch, and its repetition sends them again.
        outage = Outage(
            AlertKind.TOPIC_UNUSABLE,
            f"topic {topic}",
            "python -m producers provision",
            alert_after_seconds=0.0,
            shortest_pause_seconds=10.0,
            longest_pause_seconds=300.0,
        )
        super().__init__(outage, message)


@dataclass
class Receipt:
    """What `deliver` confirmed.

    Attributes:
        delivered: Acknowledged records by partition date.
        refused: Records that went to the dead-letter topic instead, acknowledged there.
    """

    delivered: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @property
    def total(self) -> int:
        """Records acknowledged on the domain's own topic."""
        return self.delivered.total()

    def add(self, other: Receipt) -> None:
        """Take over another receipt's counts."""
        self.delivered += other.delivered
        self.refused += other.refused


@dataclass
class _Pending:
    receipt: Receipt = field(default_factory=Receipt)
    size_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    too_large: list[tuple[bytes, bytes, str]] = field(default_factory=list)
    failures: list[tuple[str, KafkaError]] = field(default_factory=list)


class Delivery:
    """Sends one domain's records.

    Args:
        producer: Connects the producer, given what to call for an undelivered record.
        contract: The domain's registered contract.
        delivery_seconds: How long `deliver` waits for reports.
        metrics: Counts what is delivered.
    """

    def __init__(
        self,
        producer: Callable[[Callable[[KafkaError, Message], None]], Producer],
        contract: RegisteredContract,
        *,
        delivery_seconds: float = DELIVERY_SECONDS,
        metrics: ProducerMetrics | None = None,
    ) -> None:
        self.domain: Domain = contract.domain
        self._contract = contract
        self._delivery_seconds = delivery_seconds
        self._topic = self.domain.topic.name
        self._key_field = self.domain.topic.key
        self._date_field = self.domain.bronze.timestamp_col
        self._metrics = metrics or ProducerMetrics(self.domain.name)
        self._pending = _Pending()
        self._producer = producer(self._undelivered)

    @classmethod
    def connect(
        cls,
        settings: Settings,
        domain: Domain,
        *,
        registry: SchemaRegistryClient | None = None,
        bulk: bool = False,
        metrics: ProducerMetrics | None = None,
    ) -> Self:
        """Connect to the services that the settings name.

        Raises:
            ConfigurationError: the contract is not registered, or the credentials are refused.
            TransientError: a service does not answer.
        """
        contract = find_contract(settings, registry or connect_registry(settings), domain)
        return cls(
            lambda failed: connect_producer(settings, on_failed_delivery=failed, bulk=bulk),
            contract,
            metrics=metrics,
        )

    @property
    def schema_id(self) -> int:
        """The id written before every value."""
        return self._contract.schema_id

    def send(self, record: dict[str, Any]) -> None:
        """Take a record; one that breaks the contract, or is too large, goes to the dead-letter topic with its reason.

        Raises:
            TransientError: the cluster takes nothing.
        """
        key = encode_key(record.get(self._key_field))
        value = encode_value(record, self._contract.schema_id)
        violation = self._contract.violation(record)
        if violation is not None:
            self._dead_letter(key, value, RefusalReason.CONTRACT_VIOLATION, violation)
        elif self._produced(self._topic, key, value):
            self._pending.receipt.delivered[str(record[self._date_field])[:10]] += 1
            self._pending.size_bytes += len(value)
        else:
            self._dead_letter(
                key, value, RefusalReason.TOO_LARGE, f"The record has {len(value):,} bytes, more than a topic takes."
            )

    def send_text(self, key: object, document: str, extra: dict[str, Any]) -> None:
        """Take a record as JSON text; text that is no JSON within the bounds of a record is refused.

        Args:
            key: What identifies the record if it cannot be read.
            document: The record.
            extra: Fields to add.

        Raises:
            TransientError: the cluster takes nothing.
        """
        try:
            record = {**orjson.loads(document), **extra}
        except ValueError as error:
            self._dead_letter(encode_key(key), document.encode(), RefusalReason.MALFORMED_JSON, str(error))
            return
        self.send(record)

    def deliver(self) -> Receipt:
        """Wait until every record taken is acknowledged, and return what was since the last call.

        Raises:
            TopicUnusableError: a topic does not exist, or may not be written; the caller sends them again.
            TransientError: the cluster did not acknowledge all of them in time; the caller sends them again.
            PermanentError: the cluster refuses them for good.
        """
        deadline = time.monotonic() + self._delivery_seconds
        while True:
            left = self._producer.flush(max(0.0, deadline - time.monotonic()))
            if left or not self._pending.too_large:
                break
            refused, self._pending.too_large = self._pending.too_large, []
            for key, value, reason in refused:
                date = str(decode_value(value).get(self._date_field))[:10]
                self._pending.receipt.delivered[date] -= 1
                self._pending.size_bytes -= len(value)
                self._dead_letter(key, value, RefusalReason.TOO_LARGE, reason)
        batch, self._pending = self._pending, _Pending()
        if left or batch.failures:
            self._metrics.failed(left + len(batch.failures))
            self.abandon()
            self._fail(left + len(batch.failures), batch.failures)
        batch.receipt.delivered = +batch.receipt.delivered
        self._metrics.delivered(batch.receipt.total, batch.size_bytes, batch.refused)
        return batch.receipt

    def abandon(self) -> None:
        """Forget records that were taken and not delivered, after an error; their source sends them again."""
        self._producer.purge(in_queue=True, in_flight=True)
        self._producer.flush(5.0)
        self._pending = _Pending()

    def _fail(self, count: int, failures: list[tuple[str, KafkaError]]) -> None:
        refused = [(topic, error) for topic, error in failures if error.code() in REFUSED_FOR_GOOD]
        topic, error = next(iter([*refused, *failures]), (self._topic, None))
        message = (
            f"Domain `{self.domain.name}`: {counted(count, 'record')} for `{topic}` not acknowledged"
            f" ({error.str() if error else 'no answer in time'})."
        )
        if refused:
            raise self._unusable(topic, message)
        if any(failure.code() in _PERMANENT for _, failure in failures):
            raise PermanentError(f"{message} Check that `provision` ran and what the user may write.")
        raise TransientError(f"{message} The watermark stays where it was; they are sent again.")

    def _unusable(self, topic: str, message: str) -> TopicUnusableError:
        # Asking makes the client notice a topic that has been created since; by itself it looks every five minutes.
        with suppress(KafkaException):
            self._producer.list_topics(topic, timeout=LOOK_UP_SECONDS)
        return TopicUnusableError(
            topic,
            f"{message} Create the topic with `python -m producers provision`, or allow the user to write it. The"
            " watermark stays where it was, and the records are sent as soon as the topic takes them.",
        )

    def _produced(self, topic: str, key: bytes, value: bytes | None, headers: Headers = ()) -> bool:
        """Queue a record, and wait while the queue is full; False if it is larger than any topic takes."""
        deadline = time.monotonic() + self._delivery_seconds
        while True:
            try:
                self._producer.produce(topic, value, key, headers=list(headers))
                return True
            except BufferError:
                if time.monotonic() >= deadline:
                    raise TransientError(
                        f"Domain `{self.domain.name}`: the queue for `{topic}` stays full; the cluster takes nothing."
                        " The records are sent again.",
                    ) from None
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                message = f"Domain `{self.domain.name}`: `{topic}` does not take a record: {error.args[0].str()}."
                if error.args[0].code() in REFUSED_FOR_GOOD:
                    raise self._unusable(topic, message) from None
                raise PermanentError(message) from None

    def _dead_letter(self, key: bytes, value: bytes, reason: RefusalReason, error: str) -> None:
        headers = dead_letter_headers.write(
            topic=self._topic,
            timestamp=SystemClock().now(),
            error_class=reason,
            error=error,
            schema_id=self._contract.schema_id,
        )
        log.warning("record_refused topic=%s error_class=%s error=%s", self._topic, reason, error)
        topic = dlq_name(self.domain)
        # Beyond this a broker may refuse what the client takes, for it counts a batch with its envelope.
        fits = len(value) <= DLQ_MAX_MESSAGE_BYTES - ENVELOPE_BYTES
        if not fits or not self._produced(topic, key, value, headers):
            self._produced(topic, key, None, dead_letter_headers.without("value", len(value), headers))
        self._pending.receipt.refused += 1
        self._pending.refused[reason] += 1

    def _undelivered(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and message.topic() == self._topic:
            self._pending.too_large.append((message.key() or b"", message.value() or b"", error.str()))
        else:
            self._pending.failures.append((message.topic() or self._topic, error))
