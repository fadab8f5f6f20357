"""The platform's clock: UTC now, as an object that a test can hold still.

Pass a `Clock` to whatever decides by time (flush intervals, settle intervals, SLA deadlines). Durations inside
one process that only pace a loop use `time.monotonic` directly.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current UTC time with microseconds."""
        return datetime.now(UTC)


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    def advance(self, **delta: float) -> None:
        """Move forward by a `timedelta` given as keywords, for example `advance(seconds=30)`."""
        self._now += timedelta(**delta)
