"""The case `latency`: event → Bronze, and late record → corrected row of the warehouse, at default settings.

Late records come one after another, each for the closed date that has been DONE for longest, and by the ordinary way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.frame import Case, Contestant, Measures
from benchmarks.live.percentiles import COLUMNS, percentiles
from benchmarks.live.platform import LivePlatform, catalog_of, started
from benchmarks.usage import ProgramFailedError, Usage, cpu_seconds, resident_bytes
from infra.embedded.processes.process import child_environment
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Transition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, Settings
from warehouse.connection import connect

LATE_RECORDS = 10
DAYS, EVENTS_PER_DAY = 10, 500
EVENT, LATE = "event → Bronze", "late record → warehouse"

_seeds = count(1_000)


@contextmanager
def prepared(folder: Path, late: int | None) -> Iterator[Case]:
    """Start a platform with some closed dates, wait until they are DONE, and offer the only contestant.

    Args:
        folder: Gets the platform.
        late: Late records a round.
    """
    late = late or LATE_RECORDS
    with started(folder, DAYS, EVENTS_PER_DAY) as platform:
        platform.wait("everything to be started", platform.is_live)
        domain, config = catalog_of(platform)["events"], platform.settings()
        platform.wait("all dates to be DONE", lambda: platform.is_past_done(catalog_of(platform), DAYS))
        waits: dict[str, list[float]] = defaultdict(list)
        yield Case(
            name="latency",
            title="How soon an event is in Bronze, and a late record in the warehouse, at default settings",
            size=f"{late} late records a round, one after another; the sink writes each"
            f" {config.sink_flush_interval_seconds:g} s, a late file rests {config.partition_quick_settle_seconds:g} s,"
            f" sensors tick each {config.discovery_interval_seconds} s",
            contestants=[Contestant("late records", partial(_round, platform, domain, late, waits))],
            measures=lambda: [table_of(waits)],
        )


def table_of(waits: Mapping[str, Sequence[float]]) -> Measures:
    """Return the waits as percentiles."""
    return Measures("wait", COLUMNS, {name: percentiles(seconds) for name, seconds in waits.items()})


def _round(platform: LivePlatform, domain: Domain, late: int, waits: dict[str, list[float]], _: Path) -> Usage:
    """Let late records come, and look at the live events that were stored meanwhile."""
    began, since, before = time.monotonic(), datetime.now(UTC), cpu_seconds(platform.pid)
    lake = Lake(platform.settings())
    for _number in range(late):
        for name, seconds in _correct(platform, lake, domain).items():
            waits[name].append(seconds)
    waits[EVENT] += list(event_waits(lake, domain, since))
    return Usage(cpu_seconds(platform.pid) - before, time.monotonic() - began, resident_bytes(platform.pid))


def _correct(platform: LivePlatform, lake: Lake, domain: Domain) -> dict[str, float]:
    """Send one late record and return each of its waits when the warehouse has it."""
    config = platform.settings()
    day = _rested_longest(platform, domain, config)
    with connect(config, "pdp:benchmark") as connection:
        cursor = connection.cursor()
        query = (
            f"SELECT SUM(EVENTS::NUMBER(38,0)) FROM {config.snowflake_database}.{domain.warehouse_schema}.EVENTS"
            f" WHERE EVENT_DATE = '{day.isoformat()}'"
        )
        total = cursor.execute(query).fetchone()[0]
        began = datetime.now(UTC)
        event_id = _send(platform, day)
        platform.wait(
            f"the late record of {day} in the warehouse", lambda: cursor.execute(query).fetchone()[0] == total + 1
        )
        seen = datetime.now(UTC)
    sent, stored = _way_to_bronze(lake, domain, day, event_id)
    return late_waits(sent, stored, seen, DeltaPartitionMeta(lake).history(domain.name, day, began))


def late_waits(sent: datetime, stored: datetime, seen: datetime, history: Sequence[Transition]) -> dict[str, float]:
    """Return the waits of a late record by name.

    Args:
        sent: When its producer sent it.
        stored: When its file was in Bronze.
        seen: When the warehouse had it.
        history: What became of its date since.
    """
    first = {each.to_status: each.at for each in reversed(history)}
    late, claimed = first[State.LATE.value], first[State.IN_FLIGHT.value]
    steps = {
        "  record → Bronze": stored - sent,
        "  Bronze → found, LATE": late - stored,
        "  LATE → claimed by a run": claimed - late,
        "  claimed → warehouse": seen - claimed,
        LATE: seen - sent,
    }
    return {name: step.total_seconds() for name, step in steps.items()}


def event_waits(lake: Lake, domain: Domain, since: datetime) -> Iterator[float]:
    """Return for each record of today's Bronze files how long after its sending its file appeared.

    Args:
        since: Files that are older are left out.
    """
    for day in sorted({since.date(), datetime.now(UTC).date()}):
        for file in lake.list_date(domain, day):
            path = Path(lake.path(file.name))
            stored = _appeared(path)
            if stored >= since:
                for sent in pq.read_table(path, columns=["_kafka_timestamp"]).column(0).to_pylist():
                    yield (stored - sent).total_seconds()


def _rested_longest(platform: LivePlatform, domain: Domain, config: Settings) -> date:
    """Return the closed date that has been DONE for longest, when it has rested so that it is corrected at once."""
    today, rest = datetime.now(UTC).date(), timedelta(seconds=config.partition_settle_max_seconds)
    rested: list[date] = []

    def has_rested() -> bool:
        done = [
            (row.processed_at, row.partition_date)
            for row in platform.partitions()
            if row.domain == domain.name
            and row.partition_date < today
            and row.status is State.DONE
            and row.processed_at
        ]
        rested[:] = [day for at, day in sorted(done) if datetime.now(UTC) - at > rest]
        return bool(rested)

    platform.wait("a date to be DONE for long", has_rested)
    return rested[0]


def _send(platform: LivePlatform, day: date) -> str:
    """Send one late event of a date, and return its identifier."""
    variables = platform.variables()
    login = {f"KAFKA_{part}": variables[f"KAFKA_ADMIN_{part}"] for part in ("USERNAME", "PASSWORD")}
    argv = [sys.executable, "-m", "simulation", "late", "--date", day.isoformat()]
    done = subprocess.run(
        [*argv, "--events", "1", "--seed", str(next(_seeds))],
        env=child_environment(variables | login),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProgramFailedError(f"The late record of {day} was not sent:\n{done.stderr[-2_000:]}")
    event_id: str = json.loads(done.stdout.splitlines()[-1])["events"]["event_ids"][0]
    return event_id


def _way_to_bronze(lake: Lake, domain: Domain, day: date, event_id: str) -> tuple[datetime, datetime]:
    """Return when an event was sent, and when its file was in Bronze."""
    for file in lake.list_date(domain, day):
        path = Path(lake.path(file.name))
        for row in pq.read_table(path, columns=["event_id", "_kafka_timestamp"]).to_pylist():
            if row["event_id"] == event_id:
                return row["_kafka_timestamp"], _appeared(path)
    raise ProgramFailedError(f"The warehouse has the event {event_id} of {day}, and Bronze does not.")


def _appeared(path: Path) -> datetime:
    # The rename to its name, not the last write to it.
    return datetime.fromtimestamp(path.stat().st_ctime, UTC)
