"""How a live source runs: until it is to stop, through outages, at its interval.

Signals and pacing belong here; what one round does belongs to the source. A round that fails with a transient error
is repeated after the interval, anything else ends the process with its message.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from platform_core.errors import TransientError

log = logging.getLogger(__name__)


class Stop:
    """Set by SIGTERM or SIGINT, or after a duration.

    Args:
        duration_seconds: When to stop by itself; None is never.
    """

    def __init__(self, duration_seconds: float | None = None) -> None:
        self._event = threading.Event()
        self._deadline = None if duration_seconds is None else time.monotonic() + duration_seconds

    def on_signals(self) -> Stop:
        """Stop when the process is asked to end; call it from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())
        return self

    def set(self) -> None:
        """Stop now."""
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether to stop."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._event.set()
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, at most until it is time to stop, and return whether it is."""
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - time.monotonic())
        self._event.wait(max(0.0, seconds))
        return self.is_set()


def run_every(interval_seconds: float, act: Callable[[], object], stop: Stop, recover: Callable[[], None]) -> None:
    """Call `act` at a fixed interval until stopped.

    Args:
        interval_seconds: From the start of one round to the start of the next.
        act: One round.
        stop: When to end.
        recover: Called after a round that failed with a transient error.

    Raises:
        PermanentError: what a round raised.
    """
    while not stop.is_set():
        started = time.monotonic()
        try:
            act()
        except TransientError as error:
            log.warning("round_failed next_in_seconds=%.0f error=%s", interval_seconds, error)
            recover()
        stop.wait(interval_seconds - (time.monotonic() - started))
