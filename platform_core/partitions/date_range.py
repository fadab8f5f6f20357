"""A range of partition dates, as `--from` and `--to` name it.

Only the value belongs here; parsing what a person types belongs to `pdp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class DateRange:
    """A range of dates, both ends included; an end that is None is open."""

    first: date | None = None
    last: date | None = None

    def __contains__(self, day: object) -> bool:
        if not isinstance(day, date):
            return False
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)

    def days(self, most: int) -> list[date] | None:
        """Return each date of the range, None when an end is open or it has more than `most`."""
        if self.first is None or self.last is None or (self.last - self.first).days >= most:
            return None
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def is_open(self) -> bool:
        """Whether neither end was given."""
        return self.first is None and self.last is None


EVERY_DATE = DateRange()
