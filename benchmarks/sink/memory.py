"""The case `sink-memory`: whether the sink keeps its memory budget.

Two million events, shuffled over 400 dates, wait in Kafka when the sink starts, so that every date has an open buffer
and none fills up by itself: what is written, and when, is decided by `SINK_MAX_BUFFERED_BYTES` alone. Correctness under
faults belongs to tests/faults. The peer is a budget of an eighth.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from benchmarks.frame import Case, Contestant
from benchmarks.sink.topic import create_topics, forget_group, produce
from benchmarks.usage import Usage, of_program
from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from platform_kafka.topics import SINK_GROUP

MEBIBYTE = 1024 * 1024
FIRST_DAY = date(2024, 6, 1)
RECORDS = 2_000_000
DATES = 400
BUDGETS_MIB = (16, 128)


@dataclass(frozen=True)
class DrainedTopic:
    """What a run of the sink took, and what it wrote.

    Attributes:
        usage: Its CPU, time and memory.
        files: Bronze files.
        rows: Their rows.
    """

    usage: Usage
    files: int
    rows: int


@contextmanager
def prepared(folder: Path, records: int | None) -> Iterator[Case]:
    """Start Kafka, fill the topic, and offer a contestant for each budget.

    Args:
        folder: Gets Kafka's files.
        records: Events in the topic.
    """
    records = records or RECORDS
    with Kafka(folder / "kafka") as kafka:
        env = kafka.env()
        fill(_settings(env), records, DATES)
        yield Case(
            name="sink-memory",
            title="Kafka → Bronze with a buffer open for each date",
            size=f"{records:,} events over {DATES} dates",
            contestants=[Contestant(f"{mib} MiB", partial(_within, env, records, mib)) for mib in BUDGETS_MIB],
            units=records,
            unit="events",
        )


def _within(env: Mapping[str, str], records: int, mib: int, folder: Path) -> Usage:
    mine = {
        **env,
        "LAKE_URI": str(folder / "lake"),
        "SINK_MAX_BUFFERED_BYTES": str(mib * MEBIBYTE),
        "SINK_FLUSH_BUFFER_SIZE": str(records),
        "SINK_FLUSH_INTERVAL_SECONDS": "3600",
    }
    forget_group(_settings(env), SINK_GROUP)
    drained = drain(mine, _settings(mine), folder / "log")
    if drained.rows != records:
        raise ValueError(f"The sink wrote {drained.rows} rows of {records} with a budget of {mib} MiB")
    return drained.usage


def _settings(env: Mapping[str, str]) -> Settings:
    return Settings(**{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]


def fill(settings: Settings, records: int, dates: int, seed: int = 7) -> None:
    """Produce events whose dates are drawn at random, and wait until the broker has them."""
    create_topics(settings)
    produce(settings, load_catalog(settings.domains_file)["events"].topic.name, _events(records, dates, seed))


def _events(records: int, dates: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    draw = random.Random(seed)
    days = [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(dates)]
    for number in range(records):
        event = {
            "event_id": str(number),
            "event_type": "search",
            "event_timestamp": f"{draw.choice(days)}T12:00:00Z",
            "user_id": number % 50_000,
            "session_id": f"s{number // 10}",
            "device_type": "ios",
            "properties": {"query": "pizza", "position": number % 40},
        }
        yield str(number % 50_000).encode(), json.dumps(event).encode()


def drain(env: Mapping[str, str], settings: Settings, log: Path) -> DrainedTopic:
    """Run the sink until it has caught up, and count what it wrote."""
    usage = of_program([sys.executable, "-m", "sink", "--domains", "events", "--until-caught-up"], log, env)
    lake, domain = Lake(settings), load_catalog(settings.domains_file)["events"]
    files = [file.name for of_day in lake.list_bronze(domain).values() for file in of_day]
    return DrainedTopic(usage, len(files), lake.count_records(files))
