"""The platform without its repository, as an image has it: packages in a folder, everything else by variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from platform_core.settings import REPOSITORY

PACKAGES = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
UNUSED = {"infra", "simulation", "spark_jobs", "maintenance", "erasure"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    for name in PACKAGES["packages"]:
        if name not in UNUSED:
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def pdp(installed: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PYTHONPATH": str(installed), **variables}
    command = [sys.executable, "-m", "pdp", *arguments, "--json"]
    return subprocess.run(command, cwd=installed, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_what_is_missing_is_said_in_a_sentence_and_nothing_is_written_beside_the_packages(installed: Path) -> None:
    for command, variable in ((("partitions", "list"), "LAKE_URI"), (("watermark", "show"), "STATE_DIR")):
        done = pdp(installed, *command)
        assert done.returncode == 2
        assert f"`{variable}` is not set" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (installed / ".platform").exists()


def test_variables_alone_are_enough(installed: Path, tmp_path: Path) -> None:
    done = pdp(installed, "watermark", "show", LAKE_URI=str(tmp_path / "lake"), STATE_IN_LAKE="true")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["watermarks"] == []
