"""The ledger: one record on `processed-events` for each Bronze file, after the first commit that follows its PUT.

Reconciliation reads it. A record that a killed process could not send any more is sent by the partitions' next
owner (`sink.bronze.recovery`) and says so, because then there may be two. docs/architecture.md describes the fields.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.topics import PROCESSED_EVENTS
from sink.consuming.broker import Publisher
from sink.consuming.unusable_topics import RETRY_SECONDS

log = logging.getLogger(__name__)


class Ledger:
    """Publishes ledger records; those that the topic refuses are kept and tried again."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._refused: list[tuple[LedgerRecord, Callable[[], None]]] = []
        self._retry_at = 0.0
        self.problem: str | None = None

    def add(self, record: LedgerRecord, on_delivery: Callable[[], None]) -> None:
        """Publish the record of one file.

        Args:
            on_delivery: Called when the broker has the record.

        Raises:
            TransientError: the local queue is full.
        """

        def delivered(error: PlatformError | None) -> None:
            if error is None:
                self.problem = None
                on_delivery()
                return
            log.error("ledger_record_delayed file=%s error=%s", record.file, error)
            self._refused.append((record, on_delivery))
            self.problem = f"{error} Files are written and committed, and announced when the topic takes it."

        try:
            self._publisher.publish(PROCESSED_EVENTS, record.key, record.to_json(), [], delivered)
        except PermanentError as error:
            delivered(error)

    def retry(self, now: float) -> None:
        """Publish once more what was refused.

        Args:
            now: Seconds of a clock that never steps back.

        Raises:
            TransientError: the local queue is full.
        """
        if not self._refused or now < self._retry_at:
            return
        self._retry_at = now + RETRY_SECONDS
        refused, self._refused = self._refused, []
        while refused:
            try:
                self.add(*refused[0])
            except TransientError:
                self._refused += refused
                raise
            del refused[0]
