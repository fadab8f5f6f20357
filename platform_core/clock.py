"""The platform's clock: UTC now, as an object that a test can replace by one that stands still.

Pass a `Clock` to whatever decides by time. What is compared with a date or with another machine uses `now`; an age
or a pause inside one process uses `seconds`, because the wall clock may be set back or forward.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
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


@lru_cache(maxsize=1)
def seconds_since() -> str:
    """Return a name of the moment from which `SystemClock.seconds` counts.

    It is the start of this machine, so that processes of one host may compare their seconds, one after the other too;
    where the kernel has no name for it, it is this process's own.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return uuid.uuid4().hex
