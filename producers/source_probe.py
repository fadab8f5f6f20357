"""Whether a live source gets its work done, and the endpoint that says so.

What `ok`, `degraded` and `failing` mean for a producer belongs here; the protocol belongs to
`platform_core.probe_server`, the metrics to `producers.metrics`. Reading the answers is explained in
docs/operations.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from platform_core.errors import TransientError
from platform_core.probe_server import Health, ProbeServer
from platform_core.settings import Settings
from producers.metrics import ProducerMetrics
from producers.postgres.fence import FencedReader

FAILING_INTERVALS = 3

# Sources with rounds of 1 s: a broker that restarts within 10 s is no reason to restart the producer too.
SHORTEST_OUTAGE_SECONDS = 15.0


class SourceProbe:
    """Judges a source by when its last round, or a part of it, ended well; may be asked from another thread.

    Args:
        domain: What the source sends.
        interval_seconds: From one round to the next.
        seconds: A clock that never steps back.

    Attributes:
        interval_seconds: From one round to the next.
        metrics: What the source's delivery counts.
    """

    def __init__(self, domain: str, interval_seconds: float, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self.metrics = ProducerMetrics(domain, on_delivered=self._progress)
        self.metrics.runs_every(interval_seconds)
        self.interval_seconds = interval_seconds
        self._domain = domain
        self._limit_seconds = max(FAILING_INTERVALS * interval_seconds, SHORTEST_OUTAGE_SECONDS)
        self._seconds = seconds
        self._lock = threading.Lock()
        self._progress_at = seconds()
        self._error = ""
        self._warning = ""

    def watched(self, act: Callable[[], object]) -> Callable[[], None]:
        """Return a round that also reports how it went.

        Args:
            act: One round; an outage is a `TransientError`, which is let through.
        """

        def round_() -> None:
            try:
                act()
            except TransientError as error:
                with self._lock:
                    self._error = error.message
                raise
            self.metrics.succeeded()
            self._progress()

        return round_

    def polled(self, reader: FencedReader, *, held: bool) -> None:
        """Take over how far a polled table was read.

        Args:
            reader: What polls it.
            held: Whether an open transaction has held its watermark back for longer than allowed.
        """
        self.metrics.polled(reader)
        self.warn(
            f"An open transaction has held the watermark of `{self._domain}` back for {reader.held_seconds:.0f} s;"
            " the log names it."
            if held
            else ""
        )

    def warn(self, reason: str) -> None:
        """Set what is wrong although rounds succeed; empty when nothing is."""
        with self._lock:
            self._warning = reason

    def judge(self) -> Health:
        """Return the health: failing in an outage, degraded while something is wrong, else ok."""
        with self._lock:
            idle = self._seconds() - self._progress_at
            facts = {
                "domain": self._domain,
                "seconds_since_success": round(idle, 1),
                "limit_seconds": self._limit_seconds,
            }
            if idle <= self._limit_seconds:
                return Health(True, self._warning, facts)
            cause = f" The last error: {self._error}" if self._error else ""
            return Health(False, f"No round of `{self._domain}` succeeded for {idle:.0f} s.{cause}", facts)

    def endpoint(self, settings: Settings) -> AbstractContextManager[object]:
        """Serve metrics and health on `METRICS_PORT` within a block; nothing where it is empty.

        Raises:
            ConfigurationError: the port cannot be listened on.
        """
        return ProbeServer.of(settings, self.metrics.registry, self.judge)

    def _progress(self) -> None:
        # A backlog of hours is one round; each stretch of it that Kafka acknowledged counts.
        with self._lock:
            self._progress_at, self._error = self._seconds(), ""
