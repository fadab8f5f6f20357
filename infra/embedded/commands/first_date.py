"""Where the partitions of a platform on one machine begin: at its first date, and not years before it.

Without it the UI shows a thousand dates that nobody ever had as missing. A person who sets the variable has the last
word.
"""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

VARIABLE = "PARTITIONS_START_DATE"


def first_date(day: date) -> dict[str, str]:
    """Return the variable that begins the partitions at a date, or where the caller's environment says."""
    return {VARIABLE: os.environ.get(VARIABLE) or day.isoformat()}


def first_date_of(history: Path, otherwise: date) -> dict[str, str]:
    """Return the variable for a platform that may have a past already.

    Args:
        history: The summary of the replay that made its past.
        otherwise: The first date of a platform that has none yet.
    """
    if not history.exists():
        return first_date(otherwise)
    return first_date(date.fromisoformat(json.loads(history.read_text())["first_day"]))
