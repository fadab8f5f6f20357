"""Spark on a cluster, its lake in a bucket: what is lost of them in the middle of a job is lost time, and nothing else.

One cluster for all of them, in this order: a JVM that is warm makes a date in a fraction of its first one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.fs as pafs
import pytest

from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.small_jvm import SMALL_JVM
from infra.embedded.services.spark.connect import SparkConnect
from infra.embedded.services.spark.history import SparkHistory
from infra.embedded.services.spark.jvm import pyspark_home
from infra.embedded.toolchain.toolchain import Toolchain
from platform_core.errors import ServiceDownError
from platform_core.lake.delta_rows import read_date
from platform_core.lake.lake import Lake
from platform_core.lake.store_access import store_access
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, Settings
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.engine import session
from tests.rigs.faults.faulty_s3 import Fault, FaultyS3
from tests.rigs.lake.delta_rows import rows, tables_of
from tests.rigs.pipeline_rig import DAY, PipelineRig, pipeline_rig_with
from tests.rigs.settings_of import settings_of
from tests.rigs.spark.cluster import SparkClusterRig

ROWS = 65


@pytest.fixture(scope="module")
def store_of_the_cluster(object_store: ObjectStore, seed: int) -> Iterator[FaultyS3]:
    """What the cluster takes for the S3 server: while a test strikes, one write in ten is refused or not answered.

    Not for delta-rs, which keeps Python's lock until the store has answered: the proxy is in this process.
    """
    proxy = FaultyS3(object_store.env()["S3_ENDPOINT_URL"], seed)
    proxy.rate = 0.1
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def cluster(
    toolchain: Toolchain,
    object_store: ObjectStore,
    store_of_the_cluster: FaultyS3,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SparkClusterRig]:
    store = store_access(settings_of({**object_store.env(), "S3_ENDPOINT_URL": store_of_the_cluster.endpoint}))
    with SparkClusterRig(tmp_path_factory.mktemp("cluster") / "spark", toolchain, store) as running:
        yield running


@pytest.fixture
def pipeline_engine(cluster: SparkClusterRig) -> SparkClusterRig:
    return cluster


@pytest.fixture
def pipeline_lake(object_store: ObjectStore, tmp_path: Path) -> dict[str, str]:
    """A lake in the bucket, as every process but Spark's reaches it."""
    return {**object_store.env(), "LAKE_URI": f"s3://lake/{tmp_path.name}"}


@pytest.fixture
def failing_store(store_of_the_cluster: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    monkeypatch.setattr(bronze_to_silver, "FEW_SILVER_ROWS", 0)  # the cluster writes, and not the run's process
    store_of_the_cluster.fault = (Fault.UNAVAILABLE, Fault.RESET, Fault.REPLY_LOST)
    yield store_of_the_cluster
    store_of_the_cluster.fault = None


def bronze(rig: PipelineRig, day: date = DAY) -> list[str]:
    return [rig.events_file(day, 40), rig.events_file(day, 25)]


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
    gold = read_date(rig.lake, rig.lake.delta("gold/events"), "event_date", day)
    assert pc.sum(gold["events"]).as_py() == ROWS
    return [transition.event for transition in rig.partitions.history("events", day)]


def test_the_executors_of_the_workers_make_a_date(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    cluster.wait_for_cores(2)
    bronze(pipeline_rig)
    assert process(pipeline_rig) == ["files_found", "run_started", "succeeded"]
    outputs = [list((worker.root / "work").glob("app-*/*/stderr")) for worker in cluster.workers]
    assert all(outputs)


@pytest.mark.usefixtures("failing_store")
def test_a_worker_is_killed_inside_a_job_on_a_bucket_that_fails(
    cluster: SparkClusterRig, pipeline_rig: PipelineRig, sail: SparkConnect, tmp_path: Path
) -> None:
    files = bronze(pipeline_rig)
    with cluster.supervised(), cluster.struck_inside_a_job(cluster.workers[0].crash) as struck:
        events = process(pipeline_rig)
        assert struck and events[-1] == "succeeded"
        assert "Lost executor" in cluster.log.read_text()
        cluster.wait_for_cores(2)
    expected = made_by_sail_in_a_folder(pipeline_rig, files, sail, tmp_path / "folder")
    assert {table: rows(pipeline_rig.lake, table) for table in expected} == expected


def made_by_sail_in_a_folder(
    rig: PipelineRig, files: Sequence[str], sail: SparkConnect, root: Path
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table that a laptop makes of the same files."""
    folder = Lake(Settings(lake_uri=str(root)))
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pafs.copy_files(rig.lake.path(name), str(root / name), source_filesystem=rig.lake.filesystem)
    spark = session.connect(sail.env()["SPARK_REMOTE"])
    try:
        bronze_to_silver.run(spark, folder, rig.events, DAY, files)
        silver_to_gold.run(spark, folder, rig.events, DAY)
    finally:
        session.close(spark)
    return {table: rows(folder, table) for table in tables_of(folder, rig.events)}


def test_without_workers_a_query_waits_for_one(cluster: SparkClusterRig, pipeline_rig: PipelineRig) -> None:
    bronze(pipeline_rig)
    states = []

    def lose_all_for_a_while() -> None:
        for worker in cluster.workers:
            worker.crash()
        wait_for(lambda: not cluster.master.alive_workers())
        states.append(pipeline_rig.partitions.rows()[0].status)
        for name in cluster.dead_parts():
            cluster.restart_part(name)

    with cluster.struck_inside_a_job(lose_all_for_a_while) as struck:
        assert process(pipeline_rig)[-1] == "succeeded"
    assert struck and states == [State.IN_FLIGHT]
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


@pytest.mark.usefixtures("failing_store")
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


@pytest.fixture
def lake_in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PipelineRig]:
    """A lake that needs no jar besides Delta's."""
    with pipeline_rig_with({"LAKE_URI": str(tmp_path / "lake")}, monkeypatch) as rig:
        yield rig


@pytest.mark.usefixtures("without_driver")
def test_spark_submit_runs_both_scripts_on_the_master(
    cluster: SparkClusterRig, lake_in_a_folder: PipelineRig, toolchain: Toolchain, tmp_path: Path
) -> None:
    bronze(lake_in_a_folder)
    submit = [
        str(pyspark_home() / "bin" / "spark-submit"),
        f"--master={cluster.master.url}",
        f"--jars={','.join(map(str, toolchain.delta_jars))}",
        "--executor-memory=600m",
        # Two JVMs a script that live for some seconds: one executor, and no compiler that only pays off later.
        "--conf=spark.cores.max=1",
        f"--driver-java-options={' '.join(SMALL_JVM)}",
        f"--conf=spark.executor.extraJavaOptions={' '.join(SMALL_JVM)}",
        "--conf=spark.sql.shuffle.partitions=1",
        "--conf=spark.sql.codegen.wholeStage=false",
        "--conf=spark.sql.codegen.factoryMode=NO_CODEGEN",
        "--conf=spark.ui.enabled=false",
        "--conf=spark.driver.host=127.0.0.1",
        "--conf=spark.databricks.delta.snapshotPartitions=1",
        f"--conf=spark.sql.warehouse.dir={tmp_path}/warehouse",
    ]
    # Without SPARK_REMOTE, which `spark-submit` refuses beside a master.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYTHONPATH"))}
    for job in ("bronze_to_silver", "silver_to_gold"):
        done = subprocess.run(
            [*submit, str(REPOSITORY / "spark_jobs" / f"{job}.py"), "--domain=events", f"--date={DAY}"],
            cwd=tmp_path,
            env=kept | {"PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(toolchain.jdk.home)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert '"outcome": "succeeded"' in done.stdout
    gold = read_date(lake_in_a_folder.lake, lake_in_a_folder.lake.delta("gold/events"), "event_date", DAY)
    assert pc.sum(gold["events"]).as_py() == ROWS
    completed = cluster.master.state()["completedapps"]
    assert {application["name"] for application in completed} >= {"bronze_to_silver-events", "silver_to_gold-events"}
