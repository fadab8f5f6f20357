"""When a process that ended by itself is started again: ever later while it keeps dying.

A process that dies again and again ends nothing but itself: the others, and the services with which a person mends the
cause, go on. Starting and ending processes belongs to `workers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0
HEALTHY_SECONDS = 600.0
"""Who lived for so long begins with the shortest pause again: its deaths of weeks are not added up."""


class Restarts:
    """Pauses before restarts, by process.

    Args:
        seconds: A clock that never steps back.
    """

    def __init__(self, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._pauses: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def died(self, name: str) -> float | None:
        """Return after how many seconds a dead process is started again; None if that was said already."""
        if name in self._due:
            return None
        now = self._seconds()
        if now - self._started.get(name, now) > HEALTHY_SECONDS:
            self._pauses.pop(name, None)
        pause = min(2 * self._pauses.get(name, SHORTEST_PAUSE_SECONDS / 2), LONGEST_PAUSE_SECONDS)
        self._pauses[name], self._due[name] = pause, now + pause
        return pause

    def due(self) -> list[str]:
        """Return the processes whose pause is over; the caller starts them now."""
        now = self._seconds()
        due = [name for name, at in self._due.items() if at <= now]
        for name in due:
            del self._due[name]
            self._started[name] = now
        return due
