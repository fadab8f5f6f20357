"""What a program of Spark is told in its container: what it keeps, and what it removes, as on a laptop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from infra.docker import spark


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spark, "FOLDER", tmp_path)
    monkeypatch.setattr(spark, "EVENTS", tmp_path / "events")
    for name, value in {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_HOME": "/jdk",
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": "1g",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize(
    ("role", "said"),
    [
        # A driver whose master has forgotten it waits for executors for ever.
        ("master", "spark.deploy.recoveryMode=FILESYSTEM\nspark.deploy.recoveryDirectory={}/recovery\n"),
        ("worker", "spark.worker.cleanup.enabled=true\n"),
        ("history", "spark.history.fs.cleaner.enabled=true\n"),
    ],
    ids=["master", "worker", "history"],
)
def test_a_program_in_a_small_jvm_keeps_what_it_needs_and_nothing_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch, role: str, said: str
) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.extend(command))
    monkeypatch.setattr(sys, "argv", ["spark", role])
    (folder / "recovery").mkdir()
    spark.main()
    properties = Path(started[started.index("--properties-file") + 1]).read_text()
    assert said.format(folder) in properties
    assert {"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"} <= set(started)
    assert (folder / "recovery").is_dir()
