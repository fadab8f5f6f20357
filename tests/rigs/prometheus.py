"""A real Prometheus with the platform's rules, that asks the endpoints of a test every few seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from infra.embedded.processes.ports import LOOPBACK, free_ports
from platform_core.settings import REPOSITORY
from tests.rigs.logged_process import LoggedProcess

CONFIGURATION = REPOSITORY / "infra" / "monitoring" / "prometheus"
UNPACKED = REPOSITORY / ".platform" / "prometheus" / "usr" / "bin"
SECONDS = 300
STARTS = 3  # another process may take the port that was free a moment before


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    assert found, f"no {name}: `make prometheus` unpacks Debian's package"
    return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)


class Prometheus:
    """A server that runs.

    Args:
        process: Its process, whose log says why it ended.
    """

    def __init__(self, url: str, process: LoggedProcess) -> None:
        self._url = url
        self._process = process

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression is now."""
        result: list[dict[str, Any]] = self.get(f"query?query={urllib.parse.quote(expression)}")["result"]
        return result

    def get(self, path: str) -> Any:
        """Return the data of an answer of its API."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._url}/api/v1/{path}", timeout=20) as answer:
            return json.load(answer)["data"]

    def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    def until(self, what: str, ready: Callable[[], object]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if ready():
                    return
            except (urllib.error.URLError, OSError):
                pass  # it does not listen yet
            assert self._process.poll() is None, self._process.log.read_text()
            assert time.monotonic() < deadline, what
            time.sleep(0.3)


@contextmanager
def prometheus_on(targets: Mapping[str, Sequence[int]], folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the platform's configuration over other targets.

    Args:
        targets: The ports of each job.
        folder: Where its configuration, data and log are written.
    """
    for attempt in range(1, STARTS + 1):
        (port,) = free_ports(1)
        _configure(targets, folder, port)
        command = [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / f'data-{attempt}'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        ]
        process = LoggedProcess.begin(command, {**os.environ, "GOMAXPROCS": "1"}, folder / "prometheus.log")
        try:
            server = Prometheus(f"http://{LOOPBACK}:{port}", process)
            try:
                server.until("an answer", partial(server.get, "status/buildinfo"))
            except AssertionError:
                if attempt < STARTS and "address already in use" in process.log.read_text():
                    continue
                raise
            yield server
            return
        finally:
            process.terminate()
            process.wait(timeout=60)


def _configure(targets: Mapping[str, Sequence[int]], folder: Path, port: int) -> None:
    configuration = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(CONFIGURATION / name) for name in configuration["rule_files"]]
    del configuration["alerting"]  # who is told belongs to Alertmanager's own test
    for job in configuration["scrape_configs"]:
        ports = targets.get(job["job_name"], [port])
        job["static_configs"] = [{"targets": [f"{LOOPBACK}:{each}" for each in ports]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
