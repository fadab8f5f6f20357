"""A clock that stands: what a year of writers believes the time is."""

from __future__ import annotations

from datetime import datetime


class StoppedClock:
    """A clock at one moment."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the moment."""
        return self._at

    def seconds(self) -> float:
        """Return it in seconds since 1970."""
        return self._at.timestamp()
