"""Pauses between the attempts of something that fails.

Only the arithmetic of one operation's pauses belongs here; what is paused meanwhile is decided by `sink.loop`.
"""

from __future__ import annotations

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


class Backoff:
    """Doubling pauses: 1 s to 30 s, in seconds of a clock that never steps back."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._next: float | None = None
        self.since: float | None = None
        """When the first of the failed attempts was, None after a successful one."""

    @property
    def active(self) -> bool:
        """Whether the last attempt failed."""
        return self._next is not None

    def waiting(self, now: float) -> bool:
        """Whether the next attempt is not due yet."""
        return self._next is not None and now < self._next

    def failed(self, now: float) -> None:
        """Note a failed attempt."""
        self._delay = min(max(self._delay * 2, FIRST_SECONDS), LONGEST_SECONDS)
        self._next = now + self._delay
        self.since = now if self.since is None else self.since

    def succeeded(self) -> None:
        """Note a successful attempt."""
        self._delay, self._next, self.since = 0.0, None, None
