"""What the cases of a live platform make of what they see: names, idle processes, waits and percentiles."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.live.first_done import table_of
from benchmarks.live.latency import event_waits, late_waits
from benchmarks.live.percentiles import percentiles
from benchmarks.live.platform import started
from benchmarks.live.processes import Idle, by_name, idle
from benchmarks.usage import ProgramFailedError
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Transition
from platform_core.settings import REPOSITORY, Settings

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[int]:
    """Yield the id of a child that waits and logs to `sink.log`."""
    with (tmp_path / "sink.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=log)
    yield process.pid
    process.communicate()


def test_a_process_has_the_name_of_its_log_and_the_supervisor_what_is_left(child: int) -> None:
    assert by_name(os.getpid())["sink"] == child
    seen = idle(os.getpid(), 0.01)
    assert 0 < seen["sink"].proportional_mebibytes < seen["all"].proportional_mebibytes
    parts = sum(each.proportional_mebibytes for name, each in seen.items() if name != "all")
    assert parts == pytest.approx(seen["all"].proportional_mebibytes)


def test_the_table_of_processes_has_medians_and_the_sum_first() -> None:
    rounds = [{"sink": Idle(size, 1), "kafka": Idle(200, size), "all": Idle(900, 9)} for size in (100, 150, 300)]
    table = table_of([*rounds, {**rounds[0], "run": Idle(1, 1)}])
    assert list(table.rows.items()) == [("all", (900, 9)), ("kafka", (200, 125)), ("sink", (125, 1))]


def test_percentiles_are_between_samples_and_of_one_sample_that_one() -> None:
    assert percentiles([7.0]) == (7.0, 7.0, 7.0, 1)
    assert percentiles([float(n) for n in range(101)]) == (50.0, 99.0, 100.0, 101)


def test_the_waits_of_a_late_record_add_up() -> None:
    def came(seconds: int) -> datetime:
        return NOW + timedelta(seconds=seconds)

    def became(status: str, seconds: int) -> Transition:
        return Transition("events", date(2026, 11, 20), came(seconds), "", status, "", None)

    history = [became("LATE", 75), became("REPROCESSING", 76), became("IN_FLIGHT", 90), became("DONE", 99)]
    *steps, whole = late_waits(NOW, came(60), came(98), history).values()
    assert (steps, whole) == ([60, 15, 15, 8], 98)


def test_an_event_waits_until_its_file_appears_and_old_files_do_not_count(tmp_path: Path) -> None:
    lake = Lake(Settings.of({"LAKE_URI": str(tmp_path)}))
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
    now = datetime.now(UTC)
    folder = tmp_path / lake.bronze_partition(domain, now.date())
    folder.mkdir(parents=True)
    sent = pa.array([now - timedelta(seconds=60), now - timedelta(seconds=30)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"_kafka_timestamp": sent}), folder / "part-1.parquet")
    assert [round(wait) // 10 for wait in event_waits(lake, domain, now - timedelta(seconds=1))] == [6, 3]
    assert not list(event_waits(lake, domain, now + timedelta(hours=1)))


def test_a_platform_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailedError, match="must be 366 or less"), started(tmp_path, 10_000, 1) as platform:
        platform.wait("everything to be started", platform.is_live)
