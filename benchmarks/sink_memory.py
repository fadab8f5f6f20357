"""Whether the sink keeps its memory budget: `python -m benchmarks.sink_memory`, about three minutes on two cores.

Two million events, shuffled over 400 dates, wait in Kafka when the sink starts, so that every date has an open buffer
and none fills up by itself: what is written, and when, is decided by `SINK_MAX_BUFFERED_BYTES` alone. Correctness under
faults belongs to tests/faults; this prints the peak of the sink's resident memory (VmHWM) beside the budget.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.embedded.processes.process import child_environment
from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings
from platform_kafka.topics import kafka_client_config, topic_specs

MEBIBYTE = 1024 * 1024
FIRST_DAY = date(2024, 6, 1)


@dataclass(frozen=True)
class Outcome:
    """What a run of the sink took.

    Attributes:
        peak_bytes: The most that the process had resident.
        seconds: From its start to its end.
        files: Bronze files.
        rows: Their rows.
    """

    peak_bytes: int
    seconds: float
    files: int
    rows: int


def fill(settings: Settings, records: int, dates: int, seed: int = 7) -> None:
    """Produce events whose dates are drawn at random, and wait until the broker has them."""
    admin = AdminClient(kafka_client_config(settings, admin=True))
    existing = admin.list_topics(timeout=10).topics
    specs = [spec for spec in topic_specs(load_catalog(settings.domains_file)) if spec.name not in existing]
    for done in admin.create_topics([NewTopic(s.name, s.partitions, 1, config=s.config) for s in specs]).values():
        done.result()
    producer = Producer({**kafka_client_config(settings), "linger.ms": 50, "compression.type": "lz4"})
    topic = load_catalog(settings.domains_file)["events"].topic.name
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
        while True:
            try:
                producer.produce(topic, json.dumps(event), str(number % 50_000))
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


def drain(env: Mapping[str, str], settings: Settings, log: Path) -> Outcome:
    """Run `python -m sink --until-caught-up` and watch its memory."""
    started, peak = time.monotonic(), 0
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sink", "--domains", "events", "--until-caught-up"],
            cwd=REPOSITORY,
            env=child_environment(env),
            stdout=output,
            stderr=output,
        )
        while process.poll() is None:
            peak = max(peak, peak_resident_bytes(process.pid))
            time.sleep(0.1)
    if process.returncode != 0:
        raise RuntimeError(f"The sink ended with {process.returncode}; its log is {log.read_text()[-2000:]}")
    lake, domain = Lake(settings), load_catalog(settings.domains_file)["events"]
    files = [file.name for of_day in lake.list_bronze(domain).values() for file in of_day]
    return Outcome(peak, time.monotonic() - started, len(files), lake.count_records(files))


def peak_resident_bytes(pid: int) -> int:
    """Return the kernel's high-water mark of a process's resident memory; 0 when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--dates", type=int, default=400)
    parser.add_argument("--budget-mib", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder) / "kafka") as kafka:
        env = {
            **kafka.env(),
            "PYTHONPATH": str(REPOSITORY),
            "LAKE_URI": f"{folder}/lake",
            "SINK_MAX_BUFFERED_BYTES": str(options.budget_mib * MEBIBYTE),
            "SINK_FLUSH_BUFFER_SIZE": str(options.records),
            "SINK_FLUSH_INTERVAL_SECONDS": "3600",
        }
        settings = Settings(**{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
        started = time.monotonic()
        fill(settings, options.records, options.dates)
        print(f"{options.records:,} events over {options.dates} dates produced in {time.monotonic() - started:.0f} s")
        outcome = drain(env, settings, Path(folder) / "sink.log")
    assert outcome.rows == options.records, f"{outcome.rows} rows of {options.records}"
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {outcome.files:,} files, {outcome.rows / outcome.seconds:,.0f} rows/s, peak"
        f" {outcome.peak_bytes / MEBIBYTE:.0f} MiB resident with a budget of {options.budget_mib} MiB"
    )


if __name__ == "__main__":
    main()
