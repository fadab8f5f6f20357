"""Dagster's own storage: SQLite and files by themselves, Postgres and a bucket by variables, and one daemon on it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import psycopg2
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import SqliteRunStorage
from dagster_postgres import PostgresRunStorage

from infra.embedded.services.object_store import ObjectStore
from infra.embedded.services.postgres import Postgres
from platform_assets.run_retention import forget_old_runs
from platform_core.settings import REPOSITORY, settings
from tests.rigs.logged_process import LoggedProcess

VARIABLES = ("DAGSTER_POSTGRES_URL", "COMPUTE_LOGS_URI")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copyfile(REPOSITORY / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_with_nothing_set_everything_is_a_file_below_dagster_home(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_storage, SqliteRunStorage)
        assert isinstance(instance.compute_log_manager, LocalComputeLogManager)
        assert (instance.get_concurrency_config().run_queue_config.max_concurrent_runs) == 4
    assert (home / "history").is_dir()


@pytest.fixture
def in_postgres(home: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Variables of an instance in a schema of its own."""
    url, schema = postgres.env()["POSTGRES_DSN"], f"dagster_{uuid.uuid4().hex}"
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{url}?options={quote(f'-c search_path={schema}')}")
    return home


@pytest.fixture
def shared(in_postgres: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with its logs in the bucket."""
    home = in_postgres
    for name, value in object_store.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMPUTE_LOGS_URI", "s3://lake/logs/dagster")
    monkeypatch.setenv("NUMBERS_FILE", str(home / "numbers"))
    return home


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def dated(context):  # Dagster reads an annotation as it stands, and here it is a text
    if "fail" in context.run.tags:
        raise ValueError("it failed")


@dg.asset
def whole() -> None: ...


@pytest.mark.usefixtures("in_postgres")
def test_in_postgres_too_old_runs_go_that_nothing_shown_came_from_and_the_logs_of_the_others() -> None:
    with dg.DagsterInstance.get() as instance:

        def run(asset: dg.AssetsDefinition, partition: str | None = None, **tags: str) -> str:
            return dg.materialize(
                [asset], instance=instance, partition_key=partition, tags=tags, raise_on_error=False
            ).run_id

        def shown() -> tuple[object, ...]:
            return (
                instance.get_materialized_partitions(dated.key),
                [each.run_id for each in instance.fetch_materializations(whole.key, limit=1).records],
            )

        replaced = {run(dated, "a"), run(whole)}
        newest = {run(dated, "a"), run(dated, "b", fail="yes"), run(whole)}
        assert isinstance(instance.run_storage, PostgresRunStorage)
        before, later = shown(), datetime.now(UTC) + timedelta(hours=1)
        for forgotten in (len(replaced), 0):
            assert forget_old_runs(instance, later) == forgotten
            assert {each.run_id for each in instance.get_runs()} == newest and shown() == before
        kinds = {event.dagster_event_type for run_id in newest for event in instance.all_logs(run_id)}
        assert dg.DagsterEventType.ASSET_MATERIALIZATION in kinds and dg.DagsterEventType.STEP_SUCCESS not in kinds


def until(what: str, ask: Callable[[], Any], processes: list[LoggedProcess]) -> Any:
    deadline = time.monotonic() + 240
    while not (answer := ask()):
        logs = "\n".join(process.log.read_text()[-3000:] for process in processes)
        assert time.monotonic() < deadline, f"{what} did not come\n{logs}"
        time.sleep(0.5)
    return answer


def test_one_of_two_daemons_runs_what_is_due_and_the_other_takes_over(shared: Path) -> None:
    daemons: list[LoggedProcess] = []

    def start(name: str) -> LoggedProcess:
        location = str(REPOSITORY / "tests" / "rigs" / "small_location.py")
        argv = [sys.executable, "-m", "platform_assets.daemon", "-f", location]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        daemons.append(LoggedProcess.begin(argv, env, shared / f"{name}.log", start_new_session=True))
        return daemons[-1]

    def finished(instance: dg.DagsterInstance) -> dict[str, dg.DagsterRun]:
        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        return {run.tags["number"]: run for run in runs}

    try:
        first = start("first")
        (shared / "numbers").write_text("1")
        with dg.DagsterInstance.get() as instance:
            run = until("the first run", lambda: finished(instance).get("1"), daemons)
            second = start("second")
            until("a second daemon that waits", lambda: "This one waits" in second.log.read_text(), daemons)
            # What the run printed left its host, and the instance's description has no password in it.
            [key] = until(
                "the output in the bucket",
                lambda: instance.compute_log_manager.get_log_keys_for_log_key_prefix(
                    [run.run_id, "compute_logs"], ComputeIOType.STDOUT
                ),
                daemons,
            )
            shutil.rmtree(shared / "storage", ignore_errors=True)
            output = instance.compute_log_manager.get_log_data(key)
            assert b"said by the run" in (output.stdout or b"")
            assert settings().dagster_postgres_url is not None
            password = settings().dagster_postgres_url.get_secret_value().split(":")[2].split("@")[0]
            assert password not in str(instance.get_ref())
            assert [limit.name for limit in instance.event_log_storage.get_pool_limits()] == ["small"]

            os.killpg(first.pid, signal.SIGKILL)
            (shared / "numbers").write_text("1 2")
            until("a run of the second daemon", lambda: "2" in finished(instance), daemons)
            assert sorted(run.tags["number"] for run in instance.get_runs()) == ["1", "2"]
        assert not (shared / "history").exists(), "nothing is in SQLite"
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    finally:
        for process in daemons:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
