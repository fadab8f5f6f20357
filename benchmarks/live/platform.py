"""A platform that `make up` has started in a folder of its own, as a child that never outlives the benchmark.

What is measured of it belongs to the cases.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks.usage import ProgramFailedError
from infra.embedded.processes.process import ManagedProcess
from platform_core.domain.catalog import Catalog, configured_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, Settings

TIMEOUT_SECONDS = 1_800.0
"""A busy machine needs ten times as long as a quiet one; what takes longer than this will not come."""
_STOP_SECONDS = 120.0
_POLL_SECONDS = 0.5


class LivePlatform:
    """What a benchmark sees of a platform that was started.

    Args:
        process: The supervisor, of which all its processes are descendants.
        folder: The platform's folder.
    """

    def __init__(self, process: ManagedProcess, folder: Path) -> None:
        self._process = process
        self.folder = folder

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Return when something is true of the platform.

        Args:
            what: Names it in the error.
            ready: Asked twice a second.

        Raises:
            ProgramFailedError: the platform ended, or the time is over.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not ready():
            if not self._process.alive or time.monotonic() > deadline:
                why = "took too long" if self._process.alive else "ended"
                raise ProgramFailedError(
                    f"The platform {why} while the benchmark waited for {what}. Its log ends with:\n"
                    f"{self._process.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def is_live(self) -> bool:
        """Tell whether everything has been started."""
        return "\nLive. " in self._process.log.read_text()

    def variables(self) -> dict[str, str]:
        """Return the variables that the platform gives a person's shell."""
        lines = (self.folder / "env").read_text().splitlines()
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def settings(self) -> Settings:
        """Return the platform's settings."""
        return Settings.of(self.variables())

    def partitions(self) -> list[Partition]:
        """Return the dates that discovery has seen so far."""
        return DeltaPartitionMeta(Lake(Settings.of({"LAKE_URI": str(self.folder / "lake")}))).rows()

    def is_any_done(self) -> bool:
        """Tell whether a date is DONE."""
        return any(row.status is State.DONE for row in self.partitions())

    def is_past_done(self, catalog: Catalog, days: int) -> bool:
        """Tell whether the dates of the history are DONE in each domain.

        Args:
            days: How many dates the history has.
        """
        done = {
            (row.domain, row.partition_date)
            for row in self.partitions()
            if row.status is State.DONE and row.partition_date < _today()
        }
        return len(done) >= len(catalog) * days


def _today() -> date:
    return datetime.now(UTC).date()


@contextmanager
def started(folder: Path, days: int, events_per_day: int) -> Iterator[LivePlatform]:
    """Start a platform and end it with the block, whatever happens.

    Nothing of the caller's environment reaches it but paths, so all settings have their defaults.

    Args:
        folder: Gets the platform's folder and its log.
        days: Of its history.
        events_per_day: Clickstream events of each of these days.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "platform"
    argv = [sys.executable, "-m", "infra.embedded", "up", "--folder", str(root)]
    argv += ["--days", str(days), "--events-per-day", str(events_per_day)]
    process = ManagedProcess("make up", argv, log=folder / "log", env={"PYTHONPATH": str(REPOSITORY)}, cwd=REPOSITORY)
    try:
        yield LivePlatform(process, root)
    finally:
        process.stop(grace_seconds=_STOP_SECONDS)


def catalog_of(platform: LivePlatform) -> Catalog:
    """Return the platform's domains."""
    return configured_catalog(platform.settings())
