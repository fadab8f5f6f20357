"""The jobs as programs: by `python` over Spark Connect, and by `spark-submit` with a session of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, OTHER_DAY
from tests.spark.conftest import Engine

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def lenient(tmp_path: Path) -> str:
    """A list of domains that publishes a date whatever is bad in it."""
    document = yaml.safe_load(Settings().domains_file.read_text())
    for entry in document["domains"].values():
        entry["quality"]["max_quarantined_ratio"] = 1.0
    path = tmp_path / "domains.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def call(command: list[str], lake: Lake, tmp_path: Path, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run in a folder that is not the project's, without PYTHONPATH: the scripts find their packages themselves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYTHONPATH", "LAKE"))}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=kept | {"LAKE_URI": lake.root} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, lines, done.stderr


def test_each_date_has_its_own_outcome(
    engines: dict[str, Engine], catalog: Catalog, lake: Lake, tmp_path: Path, lenient: str
) -> None:
    users = catalog["users"]
    [broken] = bronze_days.write(lake, users, OTHER_DAY, bronze_days.users(), files=1)
    Path(lake.path(broken)).write_bytes(b"half a file")
    bronze_days.write(lake, users, DAY, bronze_days.users())
    arguments = ["--domain", "users", "--date", f"{OTHER_DAY},{DAY}", "--date", DAY.isoformat()]
    remote = {"SPARK_REMOTE": engines["sail"].remote}
    script = [sys.executable, str(REPOSITORY / "spark_jobs" / "bronze_to_silver.py"), *arguments]
    code, lines, errors = call(script[:-2], lake, tmp_path, **remote)
    assert code == 1 and lines[1]["outcome"].startswith("refused"), errors  # 2 of 8 records are bad
    code, lines, errors = call(script, lake, tmp_path, **remote, DOMAINS_FILE=lenient)
    assert [(line["date"], line["outcome"]) for line in lines] == [
        (OTHER_DAY.isoformat(), "failed"),
        (DAY.isoformat(), "succeeded"),
    ], errors
    assert code == 1 and "users" in lines[0]["error"]
    assert lines[1]["silver_rows"] == 7 and lines[1]["quarantined"] == {"email_masked": 1, "in_partition": 1}
    code, lines, errors = call(
        [sys.executable, "-m", "spark_jobs.silver_to_gold", "--domain", "users", "--date", DAY.isoformat()],
        lake,
        tmp_path,
        PYTHONPATH=str(REPOSITORY),
        **remote,
    )
    assert code == 0, errors
    assert lines[0]["rows"] == {"users": 3} and lines[0]["changes"]["users"]["inserted"] == 3


def test_an_unknown_domain_starts_nothing(lake: Lake, tmp_path: Path) -> None:
    script = [
        sys.executable,
        str(REPOSITORY / "spark_jobs" / "silver_to_gold.py"),
        "--domain",
        "user",
        "--date",
        "2026-01-01",
    ]
    code, lines, errors = call(script, lake, tmp_path)
    assert (code, lines) == (2, []) and "no domain `user`" in errors
