"""kill -9 of the run worker at each step: the date ends DONE by itself, with the rows of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from infra.embedded.services.spark.connect import SparkConnect
from platform_assets.resources.warehouse import Warehouse
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, settings
from tests.rigs.pipeline_rig import DAY, PipelineRig
from tests.rigs.spark.server import SparkServer

IDLE = ["before Silver", "between Silver and Gold", "before DONE"]
STEPS = [*IDLE, "inside the MERGE"]


def rows_of(pipeline_rig: PipelineRig) -> dict[str, Any]:
    """Return every row of the date in Silver, Gold and the warehouse, in an order of their own."""

    def table(name: str, order: list[str]) -> pa.Table:
        read = pipeline_rig.lake.delta(name).to_pyarrow_table()
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


@pytest.fixture
def pipeline_engine(request: pytest.FixtureRequest) -> SparkConnect:
    """Spark where a client that is gone leaves it at work; Sail where nothing was asked of the engine."""
    idle = request.node.callspec.params.get("step") in IDLE
    service: SparkConnect = request.getfixturevalue("sail" if idle else "spark_connect")
    return service


@pytest.fixture
def instance_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that the run's process and the test share, and a lease that ends soon."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PARTITION_LEASE_SECONDS", "4")  # a renewal is a commit, and there are three in that time
    settings.cache_clear()


def start(step: str, output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.rigs.killed_run", step, DAY.isoformat()],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=output.open("wb"),
        stderr=subprocess.STDOUT,
    )


def tick_until_it_is_queued(pipeline_rig: PipelineRig) -> None:
    deadline = time.monotonic() + 60
    while not (requests := pipeline_rig.sensor_tick().run_requests):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [request.partition_key for request in requests] == [DAY.isoformat()]


@pytest.mark.usefixtures("instance_on_disk")
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_ends_done_with_the_same_rows(pipeline_rig: PipelineRig, tmp_path: Path, step: str) -> None:
    pipeline_rig.events_file(DAY, 40)
    pipeline_rig.events_file(DAY, 25)
    assert pipeline_rig.sensor_tick().run_requests

    output = tmp_path / "output.txt"
    assert start(step, output).wait(timeout=300) == -signal.SIGKILL, output.read_text()[-3000:]
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert row.status is State.IN_FLIGHT

    with dg.DagsterInstance.get() as instance:
        pipeline_rig.instance = instance
        [dead] = instance.get_runs()
        assert not dead.is_finished, "nobody told the orchestrator; only the lease can"
        tick_until_it_is_queued(pipeline_rig)
        assert pipeline_rig.run(DAY, discovered=True).success
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.record_count, row.silver_records) == (State.DONE, 65, 65)
    history = [t.event for t in pipeline_rig.partitions.history("events", DAY)]
    assert history == ["files_found", "run_started", "run_failed", "retry", "run_started", "succeeded"]

    recovered = rows_of(pipeline_rig)
    assert pipeline_rig.run(DAY).success  # undisturbed, over the same files
    assert rows_of(pipeline_rig) == recovered


def wait_for(what: str, output: Path, condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}\n{output.read_text()[-3000:]}"
        time.sleep(0.2)


@pytest.mark.timeout(600)  # the run that takes over waits for cores for ever, when the dead one's job keeps them
@pytest.mark.usefixtures("instance_on_disk")
@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_no_engine_works_on_for_a_run_that_is_gone(
    pipeline_rig: PipelineRig, spark_connect: SparkServer, tmp_path: Path, how: str
) -> None:
    """The engine itself is asked what it runs: the job of the dead run would take it hours."""
    pipeline_rig.events_file(DAY, 5)
    pipeline_rig.sensor_tick()
    output = tmp_path / "output.txt"
    child = start("slow", output)
    try:
        wait_for("the run starts no job", output, lambda: spark_connect.running_jobs() or child.poll() is not None)
        assert child.poll() is None, output.read_text()[-3000:]
        # The orchestrator's launcher cancels a run by an interrupt.
        child.send_signal(signal.SIGINT if how == "cancelled" else signal.SIGKILL)
        child.wait(timeout=120)
    finally:
        child.kill()
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    if how == "cancelled":
        assert row.status is State.FAILED
        assert "cancelled" in str(row.error_message)
        wait_for("the job of the cancelled run goes on", output, lambda: not spark_connect.running_jobs())
    else:
        assert row.status is State.IN_FLIGHT
        assert spark_connect.running_jobs(), "the engine does not know that its client is gone"
    with dg.DagsterInstance.get() as instance:
        pipeline_rig.instance = instance
        tick_until_it_is_queued(pipeline_rig)
        assert pipeline_rig.run(DAY, discovered=True).success
    wait_for("the job of the dead run goes on", output, lambda: not spark_connect.running_jobs())
