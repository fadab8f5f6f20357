"""The case `sink`: a topic of one day's events until all are in Parquet, or only read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.frame import Case, Contestant
from benchmarks.sink import bare_consumer, pandas_sink
from benchmarks.sink.topic import create_topics, forget_group, produce
from benchmarks.usage import Usage, of_program
from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY, Settings
from platform_kafka.topics import SINK_GROUP
from simulation.history.clicks_day import make_clicks
from simulation.history.encoding import encode
from simulation.history.orders_day import make_orders, orders_for
from simulation.world import World

EVENTS = 300_000
DAY = date(2026, 11, 20)
SEED = 7


@contextmanager
def prepared(folder: Path, events: int | None) -> Iterator[Case]:
    """Start Kafka, fill the topic, and offer the contestants.

    Args:
        folder: Gets Kafka's files.
        events: Unique events in the topic; some are there twice.
    """
    events = events or EVENTS
    topic = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"].topic.name
    with Kafka(folder / "kafka") as kafka:
        env = kafka.env()
        settings = Settings(**{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
        create_topics(settings)
        world = World(SEED)
        clicks = make_clicks(world, make_orders(world, DAY, orders_for(events)), events)
        chunks = (zip(keys, values, strict=True) for keys, values in encode(world, clicks))
        records = produce(settings, topic, chain.from_iterable(chunks))

        def turn(group: str, *program: str) -> Callable[[Path], Usage]:
            return partial(_turn, settings, env, group, program)

        yield Case(
            name="sink",
            title="Kafka → Parquet, until caught up",
            size=f"{records:,} events",
            contestants=[
                Contestant(
                    "pandas a batch", turn(pandas_sink.GROUP, pandas_sink.__name__, topic, str(records)), is_ours=False
                ),
                Contestant("sink", turn(SINK_GROUP, "sink", "--domains", "events", "--until-caught-up")),
                Contestant(
                    "bare consumer",
                    turn(bare_consumer.GROUP, bare_consumer.__name__, topic, str(records)),
                    is_ours=False,
                ),
            ],
            units=records,
            unit="events",
            differences=_other_rows,
        )


def _turn(settings: Settings, env: Mapping[str, str], group: str, program: Sequence[str], folder: Path) -> Usage:
    """Run a program that reads the whole topic; what writes does so below LAKE_URI."""
    forget_group(settings, group)
    return of_program([sys.executable, "-m", *program], folder / "log", {**env, "LAKE_URI": str(folder)})


def _other_rows(one: Path, other: Path) -> list[str]:
    """Compare the offsets that two contestants have written, if both write."""
    offsets = [_offsets(folder) for folder in (one, other)]
    if not all(offsets) or offsets[0] == offsets[1]:
        return []
    return [f"{len(offsets[0])} rows and {len(offsets[1])} rows, not of the same offsets"]


def _offsets(folder: Path) -> list[tuple[int, int]]:
    rows = []
    for file in folder.rglob("*.parquet"):
        table = pq.ParquetFile(file).read(columns=["_partition", "_offset"])
        rows += zip(table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True)
    return sorted(rows)
