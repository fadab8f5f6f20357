"""A clock that a test holds still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._seconds = 1_000.0  # any moment: nobody may take it for a time since the start

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    def seconds(self) -> float:
        """Return seconds that only `advance` moves."""
        return self._seconds

    def advance(self, **delta: float) -> None:
        """Move forward by a `timedelta` given as keywords, for example `advance(seconds=30)`."""
        self._now += timedelta(**delta)
        self._seconds += timedelta(**delta).total_seconds()

    def step(self, **delta: float) -> None:
        """Set the wall clock by a `timedelta` given as keywords, as an administrator does; no second passes."""
        self._now += timedelta(**delta)
