"""Sending one poll of any length: in stretches, each delivered and saved before the next, with its progress told.

How much is in flight between two saves belongs here; which rows there are belongs to `producers.postgres.fence`, and
sending one to `producers.delivery`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from platform_core.clock import Clock, SystemClock
from producers.delivery import Delivery, Receipt
from producers.postgres.fence import FencedReader, PolledRow, Position

log = logging.getLogger(__name__)

# What a crash sends again at most. At 15,000 rows a second a stretch takes over a second and its save 10 ms.
CHECKPOINT_ROWS = 20_000
PROGRESS_SECONDS = 5.0


class Backlog:
    """Takes what a reader has to a domain's topic.

    Args:
        reader: What is polled.
        delivery: Into the domain's topic.
        save: Keeps a position that was delivered.
        record: Makes a row's record.
        checkpoint_rows: Rows between two saves.
        clock: What time it is, for how far behind a row is.
        seconds: A clock that never steps back, for rates.

    Attributes:
        rows_sent: Rows that the present poll, or the last one, has sent.
    """

    def __init__(
        self,
        reader: FencedReader,
        delivery: Delivery,
        save: Callable[[Position], None],
        record: Callable[[PolledRow], dict[str, Any]],
        *,
        checkpoint_rows: int = CHECKPOINT_ROWS,
        clock: Clock | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._delivery = delivery
        self._save = save
        self._record = record
        self._checkpoint_rows = checkpoint_rows
        self._clock = clock or SystemClock()
        self._seconds = seconds
        self.rows_sent = 0

    def send(self) -> Receipt:
        """Send one poll, wait for the reports, save the position; a long one is saved on the way too.

        Raises:
            TransientError: not everything was acknowledged; what is saved was, and the rest is sent again.
            PermanentError: the cluster refuses the records.
        """
        total, unsaved = Receipt(), 0
        self.rows_sent = told_rows = 0
        told_at = self._seconds()
        for page in self._reader.poll():
            for row in page:
                self._delivery.send(self._record(row))
            self.rows_sent += len(page)
            unsaved += len(page)
            if unsaved >= self._checkpoint_rows:
                total.add(self._delivery.settle())
                self._save(self._reader.checkpoint())
                unsaved = 0
            now = self._seconds()
            if now - told_at >= PROGRESS_SECONDS:
                self._tell(page[-1].updated_at, (self.rows_sent - told_rows) / (now - told_at))
                told_at, told_rows = now, self.rows_sent
        total.add(self._delivery.settle())
        self._save(self._reader.confirm())
        return total

    def _tell(self, at: datetime, rows_per_second: float) -> None:
        log.info(
            "backlog_progress domain=%s sent=%d rows_per_second=%.0f at=%s behind_seconds=%.0f",
            self._delivery.domain.name,
            self.rows_sent,
            rows_per_second,
            at.isoformat(),
            (self._clock.now() - at).total_seconds(),
        )
