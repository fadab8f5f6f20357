"""What a run of dates costs: `dates_to_done` in a process of its own, and what engine and warehouse do for it.

Each turn has a copy of a lake and a database of the warehouse of its own. What such a run does belongs to that program.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks.dates_to_done import QUEUED
from benchmarks.usage import Usage, of_program
from infra.embedded.processes.service import EmbeddedService


class Services:
    """What runs of dates need and their cost includes.

    Args:
        services: Engine and warehouse, started.
    """

    def __init__(self, *services: EmbeddedService) -> None:
        self._env = {name: value for service in services for name, value in service.env().items()}
        self._pids = [service.pid for service in services if service.pid is not None]

    def run_of_dates(self, folder: Path, days: Sequence[date], *, queued: bool = False) -> Usage:
        """Process dates in the lake of a turn's folder.

        Args:
            folder: Has the lake as `lake`, and gets the log.
            days: The dates, one after another.
            queued: Whether discovery has queued them; otherwise a person asks for them.

        Raises:
            ProgramFailedError: a date did not become DONE.
        """
        # Each turn begins with an empty warehouse.
        database = "T" + "".join(filter(str.isalnum, f"{folder.parent.name}{folder.name}")).upper()
        env: Mapping[str, str] = {
            **self._env,
            "LAKE_URI": str(folder / "lake"),
            "SNOWFLAKE_DATABASE": database,
        }
        asked_by = [QUEUED] if queued else []
        program = (sys.executable, "-m", "benchmarks.dates_to_done", *asked_by, *(day.isoformat() for day in days))
        return of_program(program, folder / "log", env, self._pids)


def linked(source: Path, target: Path) -> None:
    """Copy a lake by links: what is written to a lake is always a new file."""
    shutil.copytree(source, target, copy_function=os.link)
