"""The lease of a date that a run holds: renewed in the background, checked before each stage.

A lease says that a process lives; who may take over an expired one is decided by `platform_core.partitions.plan`.
Renewal is a compare-and-set, so a run that lost its date learns it here and stops before it writes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import date
from types import TracebackType
from typing import Self

from platform_core.errors import PlatformError, TransientError
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_state import Event, State
from processing.context import RunContext

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""A renewal younger than this makes another one before the next stage needless."""


class LeaseLostError(TransientError):
    """Another process took the date over: this one must not write any more."""


class DateTimeoutError(TransientError):
    """The date took longer than PARTITION_TIMEOUT_SECONDS."""


class Lease:
    """Keeps a date IN_FLIGHT for its run, as a context manager.

    It is renewed three times in `PARTITION_LEASE_SECONDS`, and no more after `PARTITION_TIMEOUT_SECONDS`: a run that
    hangs must not hold its date for ever.

    Args:
        run: The run that holds it.
        on_lost: Called once, from another thread, when the date was taken over or timed out; it stops what still
            writes.
    """

    def __init__(self, run: RunContext, day: date, on_lost: Callable[[], object]) -> None:
        self._run = run
        self._renewal = Change(run.domain.name, day, State.IN_FLIGHT, Event.RENEWED, run_id=run.run_id)
        self._date = f"domain `{run.domain.name}` {day}"
        self._seconds = run.settings.partition_lease_seconds
        self._timeout = run.settings.partition_timeout_seconds
        self._on_lost = on_lost
        self._over = threading.Event()
        self._lost: PlatformError | None = None
        self._started = self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{run.domain.name}-{day}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the renewals; the next transition of the date is the run's own."""
        self._over.set()
        self._thread.join(timeout=self._seconds)

    @property
    def timed_out(self) -> DateTimeoutError | None:
        """Why the date was given up, if it took too long."""
        return self._lost if isinstance(self._lost, DateTimeoutError) else None

    def check(self) -> None:
        """Make sure that the date still belongs to the run.

        Raises:
            LeaseLostError: another process took it over.
            DateTimeoutError: it took too long.
        """
        if self._lost is None and time.monotonic() - self._renewed > FRESH_SECONDS:
            self._renew()
        if self._lost is not None:
            raise self._lost

    def _keep(self) -> None:
        while self._lost is None and not self._over.wait(min(self._seconds / 3, self._timeout)):
            if time.monotonic() - self._started > self._timeout:
                self._lost = DateTimeoutError(
                    f"{self._date.capitalize()} took more than {self._timeout:.0f} s and was abandoned. Look at the"
                    " Spark server's log for what it was doing; raise `PARTITION_TIMEOUT_SECONDS` if the date is that"
                    " large. It is retried."
                )
                log.warning("date_timed_out %s seconds=%.0f", self._date, self._timeout)
                break
            try:
                self._renew()
            except Exception as error:  # a store that is out answers again, or the lease expires
                log.warning("lease_not_renewed %s error=%s", self._date, error)
        if self._lost is not None:
            self._on_lost()

    def _renew(self) -> None:
        try:
            self._run.partitions.apply([self._renewal])
            self._renewed = time.monotonic()
        except StateConflictError as conflict:
            # The run's own last transition may have come between two renewals.
            if not self._over.is_set():
                log.warning("lease_lost %s", self._date)
                self._lost = LeaseLostError(
                    f"Run {self._run.run_id} lost {self._date}: {conflict}. It writes nothing more; the run that took"
                    " over, or the next one, finishes the date."
                )
