"""One domain's way into Kafka: validate, frame, produce, wait for the reports, dead-letter what is refused.

A batch counts as delivered only when `settle` returns; whoever keeps a watermark saves it after that and never
before. What a record contains belongs to its source, how it looks on the wire to `platform_kafka.records`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient

from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, TransientError
from platform_core.settings import Settings
from platform_kafka import dead_letter_headers
from platform_kafka.clients import connect_producer
from platform_kafka.records import encode_key
from platform_kafka.registry import RegisteredContract, connect_registry, find_contract
from platform_kafka.topics import dlq_name
from platform_kafka.wire_format import decode_value, encode_value
from producers.metrics import ProducerMetrics

log = logging.getLogger(__name__)

# Longer than librdkafka's delivery.timeout.ms, so that every report has come when it ends.
SETTLE_SECONDS = 150.0
SAMPLE_EVERY = 100

_PERMANENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.INVALID_RECORD,
        KafkaError._FATAL,
    }
)


@dataclass
class Receipt:
    """What `settle` confirmed.

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


class Delivery:
    """Sends one domain's records.

    Args:
        producer: Connects the producer, given what to call for an undelivered record.
        contract: The domain's registered contract.
        clock: For the time in dead letters.
        settle_seconds: How long `settle` waits for reports.
        metrics: Counts what is settled.
    """

    def __init__(
        self,
        producer: Callable[[Callable[[KafkaError, Message], None]], Producer],
        contract: RegisteredContract,
        *,
        clock: Clock | None = None,
        settle_seconds: float = SETTLE_SECONDS,
        metrics: ProducerMetrics | None = None,
    ) -> None:
        self.domain: Domain = contract.domain
        self._contract = contract
        self._clock = clock or SystemClock()
        self._settle_seconds = settle_seconds
        self._topic = self.domain.topic.name
        self._key_field = self.domain.topic.key
        self._date_field = self.domain.bronze.timestamp_col
        self._metrics = metrics or ProducerMetrics(self.domain.name)
        self._pending = Receipt()
        self._pending_bytes = 0
        self._pending_refused: Counter[str] = Counter()
        self._too_large: list[tuple[bytes, bytes, str]] = []
        self._failures: list[KafkaError] = []
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
        contract = find_contract(registry or connect_registry(settings), domain)
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
        """Take a record; a breach of the contract sends it to the dead-letter topic with its reason.

        Raises:
            PermanentError: the dead letter itself is too large.
        """
        value = encode_value(record, self._contract.schema_id)
        violation = self._contract.violation(record)
        key = encode_key(record.get(self._key_field))
        if violation is not None:
            self._dead_letter(key, value, "contract_violation", violation)
            return
        self._produce(key, value)
        self._pending.delivered[str(record[self._date_field])[:10]] += 1
        self._pending_bytes += len(value)

    def send_encoded(self, keys: list[bytes], values: list[bytes], date: str) -> None:
        """Take many framed values of one date, of which one in a hundred is validated.

        Args:
            keys: One for each value.
            values: Framed by the caller with `schema_id`.
            date: The partition date of all of them, ISO.

        Raises:
            PermanentError: a sampled value breaks the contract: the caller makes wrong ones.
        """
        for value in values[::SAMPLE_EVERY]:
            violation = self._contract.violation(decode_value(value))
            if violation is not None:
                raise PermanentError(
                    f"Domain `{self.domain.name}`, date `{date}`: a generated record breaks the contract at"
                    f" {violation}. Nothing was counted as delivered; mend the generator.",
                    domain=self.domain.name,
                    date=date,
                )
        produce, poll, topic = self._producer.produce, self._producer.poll, self._topic
        for key, value in zip(keys, values, strict=True):
            try:
                produce(topic, value, key)
            except BufferError:
                self._wait_and_produce(topic, value, key)
        poll(0)
        self._pending.delivered[date] += len(values)
        self._pending_bytes += sum(map(len, values))

    def settle(self) -> Receipt:
        """Wait until every record taken is acknowledged, and return what was since the last call.

        Raises:
            TransientError: the cluster did not acknowledge all of them in time; the caller sends them again.
            PermanentError: the cluster refuses them for good.
        """
        deadline = time.monotonic() + self._settle_seconds
        while True:
            left = self._producer.flush(max(0.0, deadline - time.monotonic()))
            if left or not self._too_large:
                break
            refused, self._too_large = self._too_large, []
            for key, value, reason in refused:
                date = str(decode_value(value).get(self._date_field))[:10]
                self._pending.delivered[date] -= 1
                self._pending_bytes -= len(value)
                self._dead_letter(key, value, "too_large", reason)
        receipt, self._pending = self._pending, Receipt()
        size_bytes, self._pending_bytes = self._pending_bytes, 0
        refusals, self._pending_refused = self._pending_refused, Counter()
        failures, self._failures = self._failures, []
        if left:
            self._producer.purge(in_queue=True, in_flight=True)
            self._producer.flush(5.0)
            self._failures.clear()
        if left or failures:
            self._metrics.failed(left + len(failures))
            self._fail(left, failures)
        receipt.delivered = +receipt.delivered
        self._metrics.delivered(receipt.total, size_bytes, refusals)
        return receipt

    def abandon(self) -> None:
        """Forget records that were taken and not settled, after an error; their source sends them again."""
        self._producer.purge(in_queue=True, in_flight=True)
        self._producer.flush(5.0)
        self._pending, self._failures, self._too_large = Receipt(), [], []
        self._pending_bytes, self._pending_refused = 0, Counter()

    def _fail(self, left: int, failures: list[KafkaError]) -> None:
        cause = failures[0].str() if failures else "no answer in time"
        message = (
            f"Domain `{self.domain.name}`: {left + len(failures)} records for `{self._topic}` were not acknowledged"
            f" ({cause})."
        )
        facts = {"domain": self.domain.name, "topic": self._topic, "failed": left + len(failures)}
        if any(failure.code() in _PERMANENT for failure in failures):
            raise PermanentError(f"{message} Check that `provision` ran and what the user may write.", **facts)
        raise TransientError(f"{message} The watermark stays where it was; they are sent again.", **facts)

    def _produce(self, key: bytes, value: bytes) -> None:
        try:
            self._producer.produce(self._topic, value, key)
        except BufferError:
            self._wait_and_produce(self._topic, value, key)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            raise PermanentError(
                f"Domain `{self.domain.name}`, key `{key.decode()}`: the record has {len(value)} bytes, more than any"
                " topic takes. Make it smaller at its source.",
                domain=self.domain.name,
                key=key.decode(),
                size_bytes=len(value),
            ) from None

    def _wait_and_produce(self, topic: str, value: bytes, key: bytes) -> None:
        deadline = time.monotonic() + self._settle_seconds
        while True:
            self._producer.poll(0.1)
            try:
                self._producer.produce(topic, value, key)
                return
            except BufferError:
                if time.monotonic() >= deadline:
                    raise TransientError(
                        f"Domain `{self.domain.name}`: the queue for `{topic}` stays full; the cluster takes nothing."
                        " The records are sent again.",
                        domain=self.domain.name,
                        topic=topic,
                    ) from None

    def _dead_letter(self, key: bytes, value: bytes, error_class: str, error: str) -> None:
        topic = dlq_name(self.domain)
        headers = dead_letter_headers.write(
            topic=self._topic,
            timestamp=self._clock.now(),
            error_class=error_class,
            error=error,
            schema_id=self._contract.schema_id,
        )
        log.warning("record_refused topic=%s key=%s error_class=%s error=%s", self._topic, key, error_class, error)
        try:
            self._producer.produce(topic, value, key, headers=list(headers))
        except KafkaException as failure:
            raise PermanentError(
                f"Domain `{self.domain.name}`, key `{key.decode()}`: the record was refused ({error}) and `{topic}`"
                f" does not take it either: {failure.args[0].str()}.",
                domain=self.domain.name,
                key=key.decode(),
            ) from None
        self._pending.refused += 1
        self._pending_refused[error_class] += 1

    def _undelivered(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and message.topic() == self._topic:
            self._too_large.append((message.key() or b"", message.value() or b"", error.str()))
        else:
            self._failures.append(error)
