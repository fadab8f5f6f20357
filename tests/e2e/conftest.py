"""One demo for all end-to-end tests: run by its command line, kept alive after its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Error, Page

from infra.embedded.services.spark.connect import SparkConnect
from platform_core.settings import REPOSITORY, settings
from tests.rigs.ui.browser import open_page, seen
from tests.rigs.ui.finished_demo import DAYS, EVENTS_PER_DAY, FIRST_BACKFILLED, SEED, FinishedDemo

ROOT = REPOSITORY / ".platform" / "demo"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedDemo]:
    """The demo at the size of a test, with `--keep`, on Spark; `make up` is tested on Sail."""
    output = tmp_path_factory.mktemp("demo") / "output.txt"
    report = ROOT / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "infra.embedded", "demo", "--keep", "--engine", "spark"]
    command += ["--days", str(DAYS), "--events-per-day", str(EVENTS_PER_DAY), "--seed", str(SEED)]
    with output.open("wb") as file:
        # By itself the demo's partitions begin with its first date.
        env = {**os.environ, "COLUMNS": "160", "PARTITIONS_START_DATE": FIRST_BACKFILLED.isoformat()}
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, env=env)
    try:
        deadline = time.monotonic() + 1_100
        while not (report.exists() and "passed" in json.loads(report.read_text())):
            assert process.poll() is None, f"the demo ended early:\n{output.read_text()}"
            assert time.monotonic() < deadline, f"the demo hangs:\n{output.read_text()}"
            time.sleep(1)
        lines = (ROOT / "env").read_text().splitlines()
        env = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
        yield FinishedDemo(json.loads(report.read_text()), output, env, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)


@pytest.fixture(scope="session")
def on_sail(demo: FinishedDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From now on Sail answers where the demo's Spark did: a date above the engine costs a tenth of the CPU."""
    spark = json.loads((ROOT / "stack.json").read_text())["services"]["spark"]
    os.kill(spark["pid"], signal.SIGKILL)
    with SparkConnect(tmp_path_factory.mktemp("sail"), engine="sail", port=spark["port"]):
        yield


@pytest.fixture
def demo_settings(demo: FinishedDemo, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point this process's settings at the demo."""
    for name, value in demo.env.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the page said, and where its screenshot is."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and report.when == "call" and page is not None:
        try:
            report.sections.append(("The page", seen(page, item.name)))
        except Error as error:  # a browser that is gone says nothing, and must not hide the failure
            report.sections.append(("The page", str(error)))
    return report


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_page() as page:
        yield page
