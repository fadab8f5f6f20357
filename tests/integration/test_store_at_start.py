"""What each process and command says at its start about a bucket that it cannot use: one sentence, and it ends.

What is wrong with which variable the check itself says (`tests/unit/platform_core/test_store_check.py` and
`tests/integration/platform_core/test_gcs_check.py`); here it is asked that everybody asks it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.docker import spark
from infra.embedded.processes.ports import free_ports
from infra.embedded.services.object_store import ObjectStore
from pdp.cli import app
from platform_core.domain.catalog import load_catalog
from platform_core.domain.source import PostgresTable
from platform_core.lake import s3_check
from platform_core.settings import REPOSITORY, settings
from tests.rigs.silent_server import SilentServer

DATE = ("--domain", "orders", "--date", "2026-11-20")
TABLES = [
    domain.command
    for domain in load_catalog(REPOSITORY / "domains" / "domains.yaml")
    if isinstance(domain.source, PostgresTable)
]
PROCESSES = {
    "sink": ("sink",),
    **{f"producer of {name}": ("producers", name) for name in TABLES},
    "pdp audit": ("pdp", "audit"),
    "job": ("spark_jobs.bronze_to_silver", *DATE),
}
COMMANDS = [
    "partitions list",
    "partitions show orders 2026-11-20",
    "alerts",
    "audit",
    "backfill orders --from 2026-11-20 --to 2026-11-20",
    "corrections orders 2026-11-20",
    "maintain",
    "quarantine list orders",
    "watermark show",
    "watermark reset orders",
]


def start(module: str, *arguments: str, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    ours = ("S3_", "AWS_", "LAKE_", "SPARK_", "STATE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        env=kept | {"PYTHONPATH": str(REPOSITORY), "STATE_IN_LAKE": "true", "NO_PROXY": "127.0.0.1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_store_that_never_answers_ends_every_process_after_two_attempts() -> None:
    with SilentServer() as store:
        variables = {
            "LAKE_URI": "s3://lake/below",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
            "S3_ACCESS_KEY": "somebody",
            "S3_SECRET_KEY": "hunter2",
        }
        started = {name: start(*argv, variables=variables) for name, argv in PROCESSES.items()}
        said = {name: process.communicate()[0] for name, process in started.items()}
        assert store.connections == s3_check.ATTEMPTS * len(PROCESSES)
    for name, text in said.items():
        assert started[name].returncode not in (0, None), name
        assert text.count("is not reached: no answer within") == 1, (name, text)
        assert "Traceback" not in text and "hunter2" not in text, (name, text)


@pytest.fixture
def wrong_bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of this process, and of those that it starts: a store that runs, and no bucket of that name."""
    variables = {**object_store.env(), "LAKE_URI": "s3://nobodys", "STATE_IN_LAKE": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    return variables


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_variable_to_correct(wrong_bucket: dict[str, str], command: str) -> None:
    done = CliRunner().invoke(app, command.split())
    settings.cache_clear()
    assert (done.exit_code, "has no bucket `nobodys`" in done.output) == (2, True), done.output


def test_a_code_location_does_not_load(wrong_bucket: dict[str, str]) -> None:
    port = str(free_ports(1)[0])
    arguments = ("-m", "platform_assets.definitions", "-d", str(REPOSITORY), "-p", port)
    process = start("platform_assets.code_server", *arguments, variables=wrong_bucket)
    text = process.communicate()[0]
    assert process.returncode and "has no bucket `nobodys`" in text, text


def test_the_driver_of_an_image_does_not_start(
    wrong_bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spark, "JARS", tmp_path)
    monkeypatch.setattr(spark, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["spark", "connect"])
    for name, value in {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONNECT_TOKEN": "a-token-of-the-cluster",
        "JAVA_HOME": "/none",
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": "1g",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert spark.main() == os.EX_CONFIG
    assert "has no `hadoop-aws-*.jar`" in capsys.readouterr().err
    for name in ("hadoop-aws-3.jar", "delta-log-store-1.jar"):
        (tmp_path / name).touch()
    assert spark.main() == os.EX_CONFIG
    assert "has no bucket `nobodys`" in capsys.readouterr().err
    settings.cache_clear()
