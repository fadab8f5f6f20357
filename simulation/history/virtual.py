"""The past as a replay polls it: a clock that it moves, and a watermark that dies with the process.

What is polled and sent belongs to `producers`; the replay saves where the live sources go on by itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from producers.postgres.fence import DatabaseClock


class VirtualClock(DatabaseClock):
    """A clock that a replay moves: the past is read as it was polled then.

    Attributes:
        now: The virtual time; what is later has not happened.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now

    @property
    def ceiling(self) -> datetime | None:  # type: ignore[override]
        """The virtual time."""
        return self.now

    def read(self, cursor: Cursor) -> tuple[datetime, int]:
        """Return the virtual time with a real fence."""
        _, fence = super().read(cursor)
        return self.now, fence


class MemoryWatermark:
    """A position in memory."""

    def __init__(self, position: dict[str, Any] | None = None) -> None:
        self.position = position

    def load(self) -> dict[str, Any] | None:
        """Return the position."""
        return self.position

    def save(self, position: dict[str, Any]) -> None:
        """Replace the position."""
        self.position = position
