"""kill -9 of the run worker at each step: the date ends DONE by itself, with the rows of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pipeline_bench import DAY, Bench

from platform_assets.resources.warehouse import Warehouse
from platform_core.partition_state import State
from platform_core.settings import REPOSITORY, settings

STEPS = ["before Silver", "between Silver and Gold", "inside the MERGE", "before DONE"]
PROGRAM = Path(__file__).with_name("killed_run.py")


def rows_of(bench: Bench) -> dict[str, Any]:
    """Return every row of the date in Silver, Gold and the warehouse, in an order of their own."""

    def table(name: str, order: list[str]) -> pa.Table:
        read = DeltaTable(bench.lake.uri(name)).to_pyarrow_table()
        return read.sort_by([(column, "ascending") for column in order]).to_pylist()

    with Warehouse().connect("test") as connection:
        loaded = (
            connection.cursor()
            .execute(
                "SELECT EVENT_HOUR, CITY, DEVICE_TYPE, EVENTS, USERS, SESSIONS"
                f" FROM {settings().snowflake_database}.EVENTS.EVENTS ORDER BY 1, 2, 3"
            )
            .fetchall()
        )
    return {
        "silver": table("silver/events", ["event_id"]),
        "events": table("gold/events", ["event_hour", "city", "device_type"]),
        "funnel": table("gold/events_funnel", ["city"]),
        "warehouse": loaded,
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_ends_done_with_the_same_rows(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PARTITION_LEASE_SECONDS", "1")
    settings.cache_clear()
    bench.events_file(DAY, 40)
    bench.events_file(DAY, 25)
    assert bench.sensor_tick().run_requests

    child = subprocess.Popen(
        [sys.executable, str(PROGRAM), step, DAY.isoformat()],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL, output.decode()[-3000:]
    row = bench.partitions.get("events", DAY)
    assert row is not None
    assert row.status is State.IN_FLIGHT

    with dg.DagsterInstance.get() as instance:
        bench.instance = instance
        [dead] = instance.get_runs()
        assert not dead.is_finished, "nobody told the orchestrator; only the lease can"
        deadline = time.monotonic() + 60
        while not (requests := bench.sensor_tick().run_requests):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert [r.partition_key for r in requests] == [DAY.isoformat()]
        assert bench.run(DAY, discovered=True).success
    row = bench.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.record_count, row.silver_records) == (State.DONE, 65, 65)
    history = [t.event for t in bench.partitions.history("events", DAY)]
    assert history == ["files_found", "run_started", "run_failed", "retry", "run_started", "succeeded"]

    recovered = rows_of(bench)
    assert bench.run(DAY).success  # undisturbed, over the same files
    assert rows_of(bench) == recovered
