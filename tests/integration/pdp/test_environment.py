"""What a person mistypes, where settings come from, and the exit codes of the real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import Result

from pdp import arguments, environment
from platform_core.errors import ConfigurationError
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY
from tests.rigs.fake_clock import FakeClock

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("partitions list ordres", ["Did you mean `orders`?", "`events`, `orders`, `restaurants`, `users`"]),
        ("partitions list zzz", ["There is no domain `zzz`. Known are"]),
        ("partitions list --status LOST", ["no status `LOST`", "`REPROCESSING`"]),
        ("partitions show orders 20.11.2026", ["`20.11.2026` is not a date", "YYYY-MM-DD", "`yesterday`"]),
        ("partitions show orders 2026-11-31", ["`2026-11-31` is not a date", "day"]),
        ("backfill orders --from 2026-11-20 --to 2026-11-10", ["reversed", "Swap them"]),
        ("partitions list --from today --to yesterday", ["reversed"]),
        ("backfill orders --from 0001-01-01 --to 9999-12-31", ["3,652,059 dates", "36,525"]),
        ("partitions reset orders", ["Which dates?"]),
        ("partitions revive", ["`--all`"]),
        ("partitions revive orders --all", ["not both"]),
        ("backfill orders --from 2026-11-20", ["--to"]),
        ("--env-file nowhere partitions list", ["`nowhere` does not exist"]),
    ],
)
def test_a_mistake_is_explained_on_stderr_with_exit_code_2(pdp: Run, command: str, expected: list[str]) -> None:
    result = pdp(*command.split())
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for text in expected:
        assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_an_illegal_setting_and_an_unreadable_table_are_explained(
    pdp: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "lake" / "pipeline-metadata" / "partition_meta" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("not json")
    broken = pdp("partitions", "list")
    assert broken.exit_code == 2
    assert "The lake did not answer" in broken.stderr
    monkeypatch.setenv("LAKE_URI", "relative/folder")
    illegal = pdp("partitions", "list")
    assert illegal.exit_code == 2
    assert "`LAKE_URI`" in illegal.stderr


def test_days_by_name_are_utc_days() -> None:
    clock = FakeClock(datetime(2026, 3, 1, 0, 30, tzinfo=UTC))
    assert arguments.day("today", clock).isoformat() == "2026-03-01"
    assert arguments.day("Yesterday", clock).isoformat() == "2026-02-28"


def test_the_newest_running_platform_of_this_machine_is_taken_and_set_variables_stay(tmp_path: Path) -> None:
    for age, name in ((100, "up"), (200, "demo")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "env"
        file.write_text(f"# comment\n\nLAKE_URI='/{name}'\nS3_REGION='here'\n")
        os.utime(file, (age, age))
    environ = {"S3_REGION": "there"}
    assert environment.load(None, environ, tmp_path) == tmp_path / "demo" / "env"
    assert environ == {"LAKE_URI": "/demo", "S3_REGION": "there"}
    assert environment.load(None, environ, tmp_path) is None
    assert environment.load(tmp_path / "up" / "env", environ, tmp_path) == tmp_path / "up" / "env"
    assert environ == {"LAKE_URI": "/up", "S3_REGION": "here"}


def test_a_line_that_is_no_assignment_is_named_but_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("LAKE_URI='/x'\nhunter2\n")
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        environment.load(file, {})
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("text", ["A='x'\n\nA B='y'\n", "A='x'\n\n='y'\n", "A='x'\n\nB='y\nC='z'\n"])
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, text: str) -> None:
    file = tmp_path / "env"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"line [23]"):
        environment.load(file, {})


def test_an_env_file_may_have_comments_and_exports_and_refers_to_nothing(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# one\nexport A='p#q'  # why\nB=\"two words\"\nC=\nD='${A}'\n")
    assert environment.parse(file) == {"A": "p#q", "B": "two words", "C": "", "D": "${A}"}


def test_the_real_process_takes_an_env_file_and_ends_with_the_exit_code(
    put: Callable[..., None], tmp_path: Path
) -> None:
    put("orders", "2026-11-16", State.IN_FLIGHT)
    file = tmp_path / "env"
    file.write_text(f"LAKE_URI='{tmp_path / 'lake'}'\nS3_ACCESS_KEY='pdp'\nS3_SECRET_KEY='hunter2'\n")
    environ = {name: value for name, value in os.environ.items() if name != "LAKE_URI"}
    environ["PYTHONPATH"] = str(REPOSITORY)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pdp", "--env-file", str(file), *command]
        return subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    listed, refused = run("partitions", "list"), run("partitions", "reset", "orders", "2026-11-16")
    assert (listed.returncode, refused.returncode) == (0, 1)
    assert "1 partition: 1 IN_FLIGHT" in listed.stdout
    assert "hunter2" not in listed.stdout + listed.stderr


def test_the_command_line_loads_neither_dagster_nor_spark_nor_kafka() -> None:
    assert loaded("import pdp.cli", "dagster", "pyspark", "confluent_kafka", "duckdb") == "[]"


def test_no_module_of_the_command_line_loads_dagster_or_spark() -> None:
    every = (
        "import pdp, pkgutil, importlib;"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(pdp.__path__, 'pdp.') if 'main' not in m.name]"
    )
    assert loaded(every, "dagster", "pyspark", "confluent_kafka", "pdp.actions.group_offsets") == (
        "['confluent_kafka', 'pdp.actions.group_offsets']"
    )


def loaded(code: str, *names: str) -> str:
    code = f"import sys; {code}; print(sorted({set(names)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()
