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

from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.topic_reader import TopicReader, reading_range
from platform_kafka.topics import PROCESSED_EVENTS

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
READ_SECONDS = 1.5
RETRY_AFTER_SECONDS = 30.0


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
    """A reader of the ledger that keeps its connection between calls; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._reader = TopicReader(settings, "pdp-announcements", answer_seconds=CONNECT_SECONDS)
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
            except KafkaUnreachableError as error:
                log.warning("ledger_unreachable error=%s", error)
                self._not_before = time.monotonic() + RETRY_AFTER_SECONDS
                return Announced(frozenset(), position or {}, complete=False)

    def close(self) -> None:
        """Give up the connection; the next call opens another."""
        self._reader.close()

    def _since(self, position: Mapping[int, int] | None) -> Announced:
        bounds = self._reader.bounds([PROCESSED_EVENTS]).get(PROCESSED_EVENTS)
        if bounds is None:
            raise KafkaUnreachableError(f"There is no topic `{PROCESSED_EVENTS}`.")
        if position is None:
            return Announced(frozenset(), {p: high for p, (_, high) in bounds.items()}, complete=True)
        reached, ends = reading_range(PROCESSED_EVENTS, bounds, position)
        dates: set[tuple[str, date]] = set()
        for message in self._reader.read(reached, ends, READ_SECONDS):
            try:
                record = LedgerRecord.from_json(message.value())
            except ValueError as error:
                log.warning("ledger_record_unreadable error=%s", error)
            else:
                dates.add((record.domain, record.day))
        complete = all(reached[tp] >= end for tp, end in ends.items())
        return Announced(frozenset(dates), {p: offset for (_, p), offset in reached.items()}, complete)
