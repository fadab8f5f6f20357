"""The platform's clock: UTC now, as an object that a test can hold still.

Pass a `Clock` to whatever decides by time. What is compared with a date or with another machine uses `now`; an age
or a pause inside one process uses `seconds`, because the wall clock may be set back or forward.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware, in UTC."""

    def seconds(self) -> float:
        """Return seconds since any fixed moment; they never step back."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current UTC time with microseconds."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


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
