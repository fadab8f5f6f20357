"""The ledger: one record on `processed-events` for each Bronze file whose offsets were committed.

Reconciliation reads it. A record that a killed process could not send any more is sent by the partitions' next
owner (`sink.bronze.recovery`) and says so, because then there may be two. docs/architecture.md describes the fields.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from platform_core.errors import PlatformError
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.topics import PROCESSED_EVENTS
from sink.broker import Publisher

log = logging.getLogger(__name__)


class Ledger:
    """Publishes ledger records."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def add(self, record: LedgerRecord, on_delivery: Callable[[], None]) -> None:
        """Publish the record of one file.

        Args:
            on_delivery: Called when the broker has the record.

        Raises:
            TransientError: the local queue is full.
        """

        def delivered(error: PlatformError | None) -> None:
            if error is None:
                on_delivery()
            else:
                log.error("ledger_record_lost file=%s error=%s", record.file, error)

        self._publisher.publish(PROCESSED_EVENTS, record.key, record.to_json(), [], delivered)
