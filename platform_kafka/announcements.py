"""Reading the ledger: which dates of Bronze the sink wrote to since a position.

The orchestrator's sensor asks here before it lists anything. A date that is announced may be listed in vain, one
that is not announced is found by the moving scan; so an outage of Kafka delays a correction and loses none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from confluent_kafka import Consumer, KafkaException, TopicPartition

from platform_core.settings import Settings
from platform_kafka.ledger_record import LedgerRecord
from platform_kafka.topics import PROCESSED_EVENTS, kafka_client_config

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
READ_SECONDS = 1.5
RETRY_AFTER_SECONDS = 30.0
BATCH = 2000


@dataclass(frozen=True)
class Announced:
    """What the ledger said since a position.

    Attributes:
        dates: Domain and date of each new Bronze file.
        position: Kafka partition to the next offset to read.
        complete: Whether the ledger's end was reached; otherwise Kafka is out or more is to be read.
    """

    dates: frozenset[tuple[str, date]]
    position: Mapping[int, int]
    complete: bool


class Announcements:
    """A reader of the ledger that keeps its connection between calls; safe to share between threads.

    Args:
        settings: Where Kafka is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._position: dict[int, int] = {}
        self._not_before = 0.0

    def since(self, position: Mapping[int, int] | None) -> Announced:
        """Return the dates announced at or after `position`; None stands for the ledger's end as it is now.

        Kafka's absence is no error: nothing is announced then, and the position stays.
        """
        with self._lock:
            if time.monotonic() < self._not_before:
                return Announced(frozenset(), position or {}, complete=False)
            try:
                return self._since(position)
            except KafkaException as error:
                log.warning("ledger_unreachable error=%s", error.args[0])
                self.close()
                self._not_before = time.monotonic() + RETRY_AFTER_SECONDS
                return Announced(frozenset(), position or {}, complete=False)

    def close(self) -> None:
        """Give up the connection; the next call opens another."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._position = {}

    def _since(self, position: Mapping[int, int] | None) -> Announced:
        consumer = self._consumer or self._connect()
        bounds = self._bounds(consumer)
        ends = {p: high for p, (_, high) in bounds.items()}
        if position is None:
            return Announced(frozenset(), ends, complete=True)
        # A position after the end is of a topic that was deleted and made anew. One before the begin was passed by
        # retention; with nothing left to read, no record would ever move it on.
        wanted = {p: max(low, at) if (at := position.get(p, 0)) <= high else low for p, (low, high) in bounds.items()}
        if wanted != self._position:
            consumer.assign([TopicPartition(PROCESSED_EVENTS, p, offset) for p, offset in wanted.items()])
            self._position = wanted
        dates: set[tuple[str, date]] = set()
        deadline = time.monotonic() + READ_SECONDS
        while any(self._position[p] < end for p, end in ends.items()) and time.monotonic() < deadline:
            for message in consumer.consume(BATCH, timeout=0.2):
                if message.error() is not None:
                    raise KafkaException(message.error())
                self._position[int(message.partition() or 0)] = int(message.offset() or 0) + 1
                try:
                    record = LedgerRecord.from_json(message.value())
                except ValueError as error:
                    log.warning("ledger_record_unreadable error=%s", error)
                else:
                    dates.add((record.domain, record.day))
        complete = all(self._position[p] >= end for p, end in ends.items())
        return Announced(frozenset(dates), dict(self._position), complete)

    def _connect(self) -> Consumer:
        self._consumer = Consumer(
            {
                **kafka_client_config(self._settings),
                "group.id": "pdp-announcements",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
            },
        )
        self._position = {}
        return self._consumer

    def _bounds(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        topic = consumer.list_topics(PROCESSED_EVENTS, timeout=CONNECT_SECONDS).topics[PROCESSED_EVENTS]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return {
            partition: consumer.get_watermark_offsets(
                TopicPartition(PROCESSED_EVENTS, partition), timeout=CONNECT_SECONDS
            )
            for partition in topic.partitions
        }
