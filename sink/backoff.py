"""Pauses between the attempts of something that fails.

Only the arithmetic of one operation's pauses belongs here; what is paused meanwhile is decided by `sink.loop`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST = timedelta(seconds=1)
LONGEST = timedelta(seconds=30)


class Backoff:
    """Doubling pauses: 1 s to 30 s."""

    def __init__(self) -> None:
        self._delay = timedelta(0)
        self._next: datetime | None = None
        self.since: datetime | None = None
        """When the first of the failed attempts was, None after a successful one."""

    @property
    def active(self) -> bool:
        """Whether the last attempt failed."""
        return self._next is not None

    def waiting(self, now: datetime) -> bool:
        """Whether the next attempt is not due yet."""
        return self._next is not None and now < self._next

    def failed(self, now: datetime) -> None:
        """Note a failed attempt."""
        self._delay = min(max(self._delay * 2, FIRST), LONGEST)
        self._next = now + self._delay
        self.since = self.since or now

    def succeeded(self) -> None:
        """Note a successful attempt."""
        self._delay, self._next, self.since = timedelta(0), None, None
