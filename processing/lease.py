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
from platform_core.partitions.partition_meta import Change, PartitionMetaStore, StateConflictError
from platform_core.partitions.partition_state import Event, State

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""A renewal younger than this makes another one before the next stage needless."""


class LeaseLostError(TransientError):
    """Another process took the date over: this one must not write any more."""


class DateTimeoutError(TransientError):
    """The date took longer than PARTITION_TIMEOUT_SECONDS."""


class Lease:
    """Keeps a date IN_FLIGHT for its run, as a context manager.

    Args:
        domain: The domain's name.
        run_id: The run that holds it.
        seconds: How long a renewal is good for; it is renewed three times as often.
        timeout: After so many seconds it is renewed no more: a run that hangs must not hold its date for ever.
        on_lost: Called once, from another thread, when the date was taken over or timed out; it stops what still
            writes.
    """

    def __init__(
        self,
        partitions: PartitionMetaStore,
        domain: str,
        day: date,
        run_id: str,
        seconds: float,
        timeout: float,
        on_lost: Callable[[], object],
    ) -> None:
        self._partitions = partitions
        self._renewal = Change(domain, day, State.IN_FLIGHT, Event.RENEWED, run_id=run_id)
        self._seconds = seconds
        self._timeout = timeout
        self._on_lost = on_lost
        self._over = threading.Event()
        self._lost: PlatformError | None = None
        self._started = self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{domain}-{day}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the renewals; the next transition of the date is the run's own."""
        self._over.set()
        if self._thread.is_alive():
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
        while not self._over.wait(min(self._seconds / 3, self._timeout)):
            if time.monotonic() - self._started > self._timeout:
                self._time_out()
            else:
                try:
                    self._renew()
                except PlatformError as error:
                    log.warning("lease_not_renewed domain=%s error=%s", self._renewal.domain, error)
                except Exception:  # a store that is out answers again, or the lease expires
                    log.exception("lease_not_renewed domain=%s", self._renewal.domain)
            if self._lost is not None:
                self._on_lost()
                return

    def _time_out(self) -> None:
        change = self._renewal
        self._lost = DateTimeoutError(
            f"Domain `{change.domain}` {change.day} took more than {self._timeout:.0f} s and was given up. Look at the"
            " Spark server's log for what it was doing; raise `PARTITION_TIMEOUT_SECONDS` if the date is that large."
            " It is retried.",
            domain=change.domain,
            day=change.day,
        )
        log.warning("date_timed_out domain=%s date=%s seconds=%.0f", change.domain, change.day, self._timeout)

    def _renew(self) -> None:
        try:
            self._partitions.apply([self._renewal])
            self._renewed = time.monotonic()
        except StateConflictError as conflict:
            # The run's own last transition may have come between two renewals.
            if not self._over.is_set():
                change = self._renewal
                log.warning("lease_lost domain=%s date=%s", change.domain, change.day)
                self._lost = LeaseLostError(
                    f"Run {change.run_id} lost domain `{change.domain}` {change.day}: {conflict}. It writes nothing"
                    " more; the run that took over, or the next one, finishes the date.",
                    domain=change.domain,
                    day=change.day,
                )
