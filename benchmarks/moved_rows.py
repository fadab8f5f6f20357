"""What `silver.global_key` costs a date: Bronze → Silver with it and without it, with a history of other dates.

`python -m benchmarks.moved_rows --dates 300 --rows 50000`. Sail is real, lake and tables are in a temporary folder.
Keys are random UUIDs, so that no file of the history can be left out by its statistics; three other dates have some of
the date's own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from infra.embedded.services.spark.connect import SparkConnect
from platform_core.domain.bronze_schema import TIMESTAMP, bronze_schema
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.key_versions import REFUSED, KeyVersions, Moves
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings
from spark_jobs import bronze_to_silver
from spark_jobs.engine import session

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def versions(keys: Sequence[str], day: date) -> pa.Table:
    """Return one good version of each key, of noon."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    columns = {
        "event_id": pa.array(keys, pa.string()),
        "event_timestamp": pa.array([at] * len(keys), TIMESTAMP),
        "_partition": pa.array([0] * len(keys), pa.int32()),
        "_offset": pa.array(range(len(keys)), pa.int64()),
        REFUSED: pa.array([False] * len(keys)),
    }
    return pa.table(columns)


def write_bronze(lake: Lake, domain: Domain, keys: Sequence[str]) -> str:
    """Write a date's events as one file and return its name."""
    rows = len(keys)
    given: dict[str, Sequence[object]] = {
        "event_id": keys,
        "event_type": ["search"] * rows,
        "event_timestamp": [AT] * rows,
        "user_id": [n % 1000 for n in range(rows)],
        "session_id": [f"s{n % 5000}" for n in range(rows)],
        "device_type": ["ios"] * rows,
        "city": [f"city {n % 50}" for n in range(rows)],
        "properties": ['{"query":"ramen"}'] * rows,
        "_topic": [domain.topic.name] * rows,
        "_partition": [0] * rows,
        "_offset": range(rows),
        "_kafka_timestamp": [AT] * rows,
        "_key": ["1"] * rows,
        "_ingested_at": [AT] * rows,
    }
    schema = bronze_schema(domain.contract)
    arrays = [pa.array(given.get(field.name, [None] * rows), field.type) for field in schema]
    name = f"{lake.bronze_partition(domain, DAY)}/part-0.parquet"
    Path(lake.path(name)).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), lake.path(name))
    return name


def cpu_seconds(engine: SparkConnect) -> float:
    """Return the CPU time of this process and of the engine's so far."""
    fields = Path(f"/proc/{engine.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def main(argv: Sequence[str] | None = None) -> int:
    """Print CPU and wall seconds of the job with and without a global key, and of what it does outside the engine."""
    parser = argparse.ArgumentParser(prog="moved_rows", description=__doc__)
    parser.add_argument("--dates", type=int, default=300)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args(argv)
    chance = Random(7)
    events = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    moving = events.model_copy(update={"silver": events.silver.model_copy(update={"global_key": True})})

    def keys(number: int) -> list[str]:
        return [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(number)]

    with (
        tempfile.TemporaryDirectory(prefix="pdp-bench-") as folder,
        SparkConnect(Path(folder) / "sail", engine="sail") as engine,
    ):
        lake = Lake(Settings(lake_uri=f"{folder}/lake"))
        stored, own = KeyVersions(lake, moving), keys(arguments.rows)
        shared = own[::100]
        for number in range(1, arguments.dates + 1):
            other = [*(shared if number in (1, 2, 100) else ()), *keys(arguments.rows)][: arguments.rows]
            stored.replace(DAY - timedelta(days=number), versions(other, DAY - timedelta(days=number)))
        file = write_bronze(lake, events, own)
        spark = session.connect(engine.env()["SPARK_REMOTE"])
        print(f"{arguments.rows:,} rows, {arguments.dates} other dates of as many keys; seconds of CPU and wall")
        best: dict[str, tuple[float, float]] = {}
        for _ in range(arguments.repeat):
            moves: list[Moves] = []
            for name, domain in (("without", events), ("with", moving)):
                cpu, wall = cpu_seconds(engine), time.monotonic()
                bronze_to_silver.run(spark, lake, domain, DAY, [file], moves.append)
                spent = (cpu_seconds(engine) - cpu, time.monotonic() - wall)
                best[name] = min(spent, best.get(name, spent))
            cpu, wall = time.process_time(), time.monotonic()
            found = stored.compare(DAY, moves[0].versions)
            spent = (time.process_time() - cpu, time.monotonic() - wall)
            best["comparing"] = min(spent, best.get("comparing", spent))
            cpu, wall = time.process_time(), time.monotonic()
            KeyVersions(Lake(Settings(lake_uri=f"{folder}/other")), moving).replace(DAY, moves[0].versions)
            spent = (time.process_time() - cpu, time.monotonic() - wall)
            best["storing"] = min(spent, best.get("storing", spent))
        for name, (cpu, wall) in best.items():
            print(f"{name:<10}{cpu:>8.2f}{wall:>8.2f}")
        print(f"{len(found.dates)} dates would be corrected")
        spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
