"""The case `up`: from `make up` to the first date that is DONE, and what each process has and uses while all is quiet.

Live producers send meanwhile, as they do after any `make up`; quiet is that no date is processed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.frame import Case, Contestant, Measures
from benchmarks.live.platform import LivePlatform, catalog_of, started
from benchmarks.live.processes import Idle, idle
from benchmarks.usage import Usage, cpu_seconds, resident_bytes

DAYS, EVENTS_PER_DAY = 2, 20_000
"""What the first `make up` makes."""
IDLE_SECONDS = 120.0
SETTLE_SECONDS = 60.0
"""The last run's process has ended, and JVMs have compiled what they compile."""


@contextmanager
def prepared(folder: Path, events: int | None) -> Iterator[Case]:
    """Offer the only contestant; each round has a platform of its own.

    Args:
        folder: Not used: the platforms are in the rounds' folders.
        events: Clickstream events of each day of the history.
    """
    events = events or EVENTS_PER_DAY
    seen: list[Mapping[str, Idle]] = []
    yield Case(
        name="up",
        title="`make up` with an empty folder, until the first date is DONE, at default settings",
        size=f"{DAYS} days of {events:,} events as history; everything is installed",
        contestants=[Contestant("make up", partial(_first_done, seen, events))],
        measures=lambda: [table_of(seen)],
    )


def _first_done(seen: list[Mapping[str, Idle]], events: int, folder: Path) -> Usage:
    began, peak = time.monotonic(), 0
    with started(folder, DAYS, events) as platform:

        def done() -> bool:
            nonlocal peak
            peak = max(peak, resident_bytes(platform.pid))
            return platform.is_any_done()

        platform.wait("the first date to be DONE", done)
        usage = Usage(cpu_seconds(platform.pid), time.monotonic() - began, peak)
        seen.append(_when_quiet(platform))
    return usage


def _when_quiet(platform: LivePlatform) -> dict[str, Idle]:
    """Return what the processes have and use in two minutes in which no date was processed."""
    platform.wait("everything to be started", platform.is_live)
    catalog = catalog_of(platform)
    while True:
        platform.wait("all dates to be DONE", lambda: platform.is_past_done(catalog, DAYS))
        time.sleep(SETTLE_SECONDS)
        before = platform.partitions()
        watched = idle(platform.pid, IDLE_SECONDS)
        if platform.partitions() == before:
            return watched


def table_of(seen: Sequence[Mapping[str, Idle]]) -> Measures:
    """Return what the processes had and used, the median of the rounds; the greatest first."""
    names = [name for name in seen[-1] if all(name in each for each in seen)]
    rows = {
        name: (
            median(each[name].proportional_mebibytes for each in seen),
            median(each[name].cpu_seconds_a_minute for each in seen),
        )
        for name in names
    }
    return Measures(
        "process, while no date is processed",
        ("resident MiB (PSS)", "CPU s a minute"),
        dict(sorted(rows.items(), key=lambda row: (row[0] == "all", row[1]), reverse=True)),
    )
