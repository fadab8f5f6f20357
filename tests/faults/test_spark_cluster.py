"""Spark on a cluster: what is lost of it in the middle of a job is lost time, and nothing else.

One cluster for all of them, in this order: a JVM that is warm makes a date in a fraction of its first one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest

from infra.embedded.services.spark_cluster import SparkWorker
from infra.embedded.services.spark_history import SparkHistory
from infra.embedded.services.spark_jvm import pyspark_home
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.errors import ServiceDownError
from platform_core.lake.delta_date import read_date
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY
from spark_jobs import session
from tests.rigs.pipeline_rig import DAY, PipelineRig
from tests.rigs.spark_cluster_rig import SparkClusterRig

ROWS = 65


@pytest.fixture(scope="module")
def cluster(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkClusterRig]:
    with SparkClusterRig(tmp_path_factory.mktemp("cluster") / "spark", toolchain) as running:
        yield running


@pytest.fixture
def pipeline_engine(cluster: SparkClusterRig) -> SparkClusterRig:
    return cluster


def bronze(rig: PipelineRig, day: date = DAY) -> None:
    rig.events_file(day, 40)
    rig.events_file(day, 25)


def process(rig: PipelineRig, day: date = DAY, seconds: float = 900) -> list[str]:
    """Let the platform itself bring the date to DONE, and return what happened to it."""
    deadline = time.monotonic() + seconds
    while True:
        row = rig.partitions.get("events", day)
        if row and row.status is State.DONE:
            break
        assert time.monotonic() < deadline, row
        if rig.sensor_tick().run_requests:
            rig.run(day, discovered=True)
        else:
            time.sleep(1)
    assert (row.record_count, row.silver_records) == (ROWS, ROWS)
    gold = read_date(rig.lake.delta("gold/events"), "event_date", day)
    assert pc.sum(gold["events"]).as_py() == ROWS
    return [transition.event for transition in rig.partitions.history("events", day)]


def test_the_executors_of_the_workers_make_a_date(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    cluster.wait_for_cores(2)
    bronze(pipeline_rig)
    assert process(pipeline_rig) == ["files_found", "run_started", "succeeded"]
    outputs = [list((worker.root / "work").glob("app-*/*/stderr")) for worker in cluster.workers]
    assert all(outputs)


def test_a_worker_is_killed_inside_a_job(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    bronze(pipeline_rig)
    lost: SparkWorker = cluster.workers[0]
    with cluster.struck_inside_a_job(lost.crash) as struck:
        events = process(pipeline_rig)
    assert struck and events[-1] == "succeeded"
    assert "Lost executor" in cluster.log.read_text()
    lost.restart()
    cluster.wait_for_cores(2)


def test_the_master_is_killed_inside_a_job_and_restarted(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    bronze(pipeline_rig)
    with cluster.struck_inside_a_job(cluster.master.crash) as struck:
        # The driver has its executors, and needs no master to go on.
        assert process(pipeline_rig) == ["files_found", "run_started", "succeeded"]
    assert struck
    cluster.master.restart()
    cluster.wait_for_cores(2)
    # It knows the application: a worker's executor is replaced.
    cluster.workers[1].crash()
    cluster.workers[1].restart()
    cluster.wait_for_cores(2)


def test_the_driver_is_killed_inside_a_job_and_restarted(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    bronze(pipeline_rig)
    with cluster.struck_inside_a_job(lambda: restart(cluster)) as struck:
        events = process(pipeline_rig)
    assert struck
    assert "run_failed" in events and events[-1] == "succeeded"


def restart(cluster: SparkClusterRig) -> None:
    cluster.crash()
    cluster.restart()


@pytest.fixture
def without_driver(cluster: SparkClusterRig) -> None:
    """A cluster whose driver was killed for good: it gives its cores to the next application."""
    cluster.crash()


@pytest.mark.usefixtures("without_driver")
def test_without_a_driver_nobody_waits(cluster: SparkClusterRig) -> None:
    started = time.monotonic()
    with pytest.raises(ServiceDownError, match="SPARK_REMOTE"):
        session.connect(cluster.env()["SPARK_REMOTE"])
    assert time.monotonic() - started < 30


@pytest.mark.usefixtures("without_driver")
def test_the_history_of_a_driver_that_was_killed_can_be_read(
    cluster: SparkClusterRig, toolchain: Toolchain, tmp_path: Path
) -> None:
    with SparkHistory(tmp_path / "history", cluster.event_logs, toolchain=toolchain) as history:
        wait_for(lambda: '"id" : "app-' in read(f"{history.url}/api/v1/applications"))


def read(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.usefixtures("without_driver")
def test_spark_submit_runs_both_scripts_on_the_master(
    cluster: SparkClusterRig, pipeline_rig: PipelineRig, toolchain: Toolchain, tmp_path: Path
) -> None:
    day = DAY + timedelta(days=1)
    bronze(pipeline_rig, day)
    submit = [
        str(pyspark_home() / "bin" / "spark-submit"),
        f"--master={cluster.master.url}",
        f"--jars={','.join(map(str, toolchain.delta_jars))}",
        "--executor-memory=600m",
        "--conf=spark.ui.enabled=false",
        "--conf=spark.driver.host=127.0.0.1",
        "--conf=spark.databricks.delta.snapshotPartitions=1",
        f"--conf=spark.sql.warehouse.dir={tmp_path}/warehouse",
    ]
    # Without SPARK_REMOTE, which `spark-submit` refuses beside a master.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYTHONPATH"))}
    for job in ("bronze_to_silver", "silver_to_gold"):
        done = subprocess.run(
            [*submit, str(REPOSITORY / "spark_jobs" / f"{job}.py"), "--domain=events", f"--date={day}"],
            cwd=tmp_path,
            env=kept | {"PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(toolchain.jdk.home)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert '"outcome": "succeeded"' in done.stdout
    gold = read_date(pipeline_rig.lake.delta("gold/events"), "event_date", day)
    assert pc.sum(gold["events"]).as_py() == ROWS
    completed = cluster.master.state()["completedapps"]
    assert {application["name"] for application in completed} >= {"bronze_to_silver-events", "silver_to_gold-events"}
