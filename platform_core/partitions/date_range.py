"""A range of partition dates, as `--from` and `--to` name it.

Only the value belongs here; parsing what a person types belongs to `pdp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class DateRange:
    """A range of dates, both ends included; an end that is None is open."""

    first: date | None = None
    last: date | None = None

    def __contains__(self, day: object) -> bool:
        if not isinstance(day, date):
            return False
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)

    @property
    def is_open(self) -> bool:
        """Whether neither end was given."""
        return self.first is None and self.last is None
