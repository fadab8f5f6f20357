"""A time of Postgres: from 4714 BC to the year 294276, and infinity, of which Python's own holds years 1 to 9999.

Only reading and ordering such a time belongs here; what it means to a poll belongs to `producers.postgres.fence`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INFINITE = {"infinity": 2**64, "-infinity": -(2**64)}
_TEXT = re.compile(r"(\d+)(-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00)( BC)?")

# The Gregorian calendar repeats itself after so many years and days.
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097


@dataclass(frozen=True, order=True)
class Stamp:
    """A time, in UTC.

    Attributes:
        microseconds: Since 1970; later than every other for infinity.
        text: As Postgres writes and reads it.
    """

    microseconds: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the time that Postgres writes so in UTC, or that `isoformat` wrote.

        Raises:
            ValueError: it is no time.
        """
        if text in _INFINITE:
            return cls(_INFINITE[text], text)
        try:
            return cls((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND, text)
        except ValueError:
            match = _TEXT.fullmatch(text)
            if match is None:
                raise
        year = 1 - int(match[1]) if match[3] else int(match[1])
        cycles, year_of_cycle = divmod(year - 2000, _CYCLE_YEARS)
        at = datetime.fromisoformat(f"{2000 + year_of_cycle}{match[2]}")
        return cls((at - _EPOCH) // _MICROSECOND + cycles * _CYCLE_DAYS * 86_400_000_000, text)

    @classmethod
    def of(cls, at: datetime) -> Self:
        """Return a time of Python."""
        return cls((at - _EPOCH) // _MICROSECOND, at.isoformat())

    @property
    def time(self) -> datetime:
        """The time, or the first or the last that Python can hold."""
        try:
            return _EPOCH + self.microseconds * _MICROSECOND
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC) if self.microseconds < 0 else datetime.max.replace(tzinfo=UTC)

    def earlier(self, seconds: float) -> Stamp:
        """Return a time before this one, the beginning of all times when Python cannot hold it."""
        try:
            return Stamp.of(self.time - timedelta(seconds=seconds))
        except OverflowError:
            return BEGINNING


BEGINNING = Stamp.parse("-infinity")
END = Stamp.parse("infinity")
