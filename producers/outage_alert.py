"""What a live source cannot reach or use: its rows wait, one alert is raised, and the source goes on by itself.

What a refusal is belongs to who meets it, `producers.delivery` and `producers.live`; what to do about it to
docs/operations.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from platform_core.clock import SystemClock
from platform_core.errors import TransientError
from platform_core.lake.alerts import Alert, AlertKind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outage:
    """How an outage is met.

    Attributes:
        kind: What the alert is.
        where: Topic or database.
        command: What to type next.
        alert_after_seconds: How long it may last before an alert is raised.
        shortest_pause_seconds: Before the second round; each pause is twice the one before it.
        longest_pause_seconds: No pause is longer.
    """

    kind: AlertKind
    where: str
    command: str
    alert_after_seconds: float
    shortest_pause_seconds: float
    longest_pause_seconds: float


ANY_SERVICE = Outage(
    AlertKind.SOURCE_DOWN,
    "a service that the source needs",
    "pdp watermark show",
    alert_after_seconds=300.0,
    shortest_pause_seconds=1.0,
    longest_pause_seconds=15.0,
)
"""The registry at a start, or a cluster that acknowledges nothing: shorter, it is not worth an alert."""


class OutageError(TransientError):
    """A service that a source needs is away, or refuses what is asked of it.

    Args:
        outage: How it is met.
        message: As of every `PlatformError`.
    """

    def __init__(self, outage: Outage, message: str) -> None:
        super().__init__(message)
        self.outage = outage


class OutageAlert:
    """Lets a round be tried ever more rarely during an outage, and raises one alert.

    Args:
        domain: What the source sends.
        send: Takes the alert; raises `TransientError` when it was not delivered.
        seconds: A clock that never steps back.
    """

    def __init__(
        self, domain: str, send: Callable[[Alert], None], *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._domain = domain
        self._send = send
        self._seconds = seconds
        self._error: OutageError | None = None
        self._alerted = False
        self._since = 0.0
        self._pause = 0.0
        self._not_before = 0.0

    def guarded(self, act: Callable[[], object]) -> Callable[[], None]:
        """Return a round that waits during an outage.

        Args:
            act: One round; an outage is a `TransientError`, which is let through.
        """

        def round_() -> None:
            if self._error is not None and self._seconds() < self._not_before:
                raise TransientError(self._error.message)
            try:
                act()
            except OutageError as error:
                self._note(error)
                raise
            except TransientError as error:
                self._note(OutageError(ANY_SERVICE, error.message))
                raise
            self._over()

        return round_

    def _note(self, error: OutageError) -> None:
        outage, now = error.outage, self._seconds()
        if self._error is None or self._error.outage.where != outage.where:
            self._over()
            log.error("outage kind=%s where=%s error=%s", outage.kind, outage.where, error)
            self._since = now
        self._error = error
        self._pause = min(max(2 * self._pause, outage.shortest_pause_seconds), outage.longest_pause_seconds)
        self._not_before = now + self._pause
        if not self._alerted and now - self._since >= outage.alert_after_seconds:
            self._alerted = self._alert(error)

    def _alert(self, error: OutageError) -> bool:
        outage, at = error.outage, SystemClock().now()
        key = f"{outage.kind.value.lower()}:{self._domain}:{outage.where}:{at.isoformat()}"
        alert = Alert(key, outage.kind, self._domain, None, error.message, outage.where, outage.command, at)
        try:
            self._send(alert)
            return True
        except TransientError as failure:  # the next refusal tries again
            log.warning("alert_not_sent source=%s error=%s", self._domain, failure)
            return False

    def _over(self) -> None:
        if self._error is not None:
            log.info("outage_over kind=%s where=%s", self._error.outage.kind, self._error.outage.where)
        self._error, self._alerted, self._pause = None, False, 0.0
