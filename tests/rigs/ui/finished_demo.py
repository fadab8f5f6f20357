"""What the end-to-end tests share: the size of their demo, and a demo that has finished and still runs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DAYS, EVENTS_PER_DAY, SEED = 2, 6000, 11

# Older than what the demo replays; the dialog of a selection shows the last 90 days.
FIRST_BACKFILLED = datetime.now(UTC).date() - timedelta(days=80)


@dataclass(frozen=True)
class FinishedDemo:
    """A demo that has printed its report and still runs.

    Attributes:
        report: `report.json`.
        output: What it printed.
        env: The variables of its processes.
        process: The demo itself.
    """

    report: dict[str, Any]
    output: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes]
