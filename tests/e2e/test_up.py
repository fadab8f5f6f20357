"""`make up` and `make down`: live until somebody ends it, and then nothing is left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from platform_core.settings import REPOSITORY

ROOT = REPOSITORY / ".platform" / "up"


@pytest.mark.timeout(900)
def test_up_is_live_and_down_ends_everything(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.embedded", "up", "--engine", "sail"],
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(lambda: "Live." in output.read_text(), process, output, 400)
        address = output.read_text().split("Dagster UI")[1].split()[0]
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/server_info") as answer:
            assert "dagster_version" in json.load(answer)
        children = [entry["pid"] for entry in json.loads((ROOT / "stack.json").read_text())["services"].values()]
        assert all(Path(f"/proc/{pid}").exists() for pid in children)
        # The last few records of a past date would otherwise wait a minute for their file, and all else for them.
        assert {path.parent.parent.name for path in (ROOT / "lake" / "bronze").glob("*/*/*.parquet")} == {
            *("events", "orders", "restaurants", "users")
        }
        # Live events of today reach Bronze with the sink's own interval of a minute.
        before = set((ROOT / "lake" / "bronze" / "events").glob("*/*.parquet"))
        wait(lambda: set((ROOT / "lake" / "bronze" / "events").glob("*/*.parquet")) > before, process, output, 180)
        # The daemon reads the lake and Kafka in the background, so that its first answers may lack what comes later.
        port = re.findall(r"dagster-daemon (\d+)", output.read_text())[0]
        wait(lambda: {"pdp_partitions", "pdp_dead_letters_total"} <= metrics(port), process, output, 120)
    finally:
        subprocess.run([sys.executable, "-m", "infra.embedded", "down"], cwd=REPOSITORY, check=True)
    process.wait(timeout=60)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not list((ROOT).glob("supervisor.json"))
    again = subprocess.run(
        [sys.executable, "-m", "infra.embedded", "down"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "Nothing runs" in again.stdout


def metrics(port: str) -> set[str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            return set(re.findall(r"^(\w+)\{", answer.read().decode(), re.M))
    except OSError:  # it does not listen yet
        return set()


def wait(ready: object, process: subprocess.Popen[bytes], output: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        os.sched_yield()
        time.sleep(1)
