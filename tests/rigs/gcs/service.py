"""The emulator of Google Cloud Storage as a test starts it, asks it what happened and makes it say no."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.embedded.processes.ports import LOOPBACK, free_ports
from tests.rigs.gcs.emulator import BUCKET, CONTROL
from tests.rigs.logged_process import LoggedProcess

RIVAL = "RIVAL"
"""The operation in the history of a table that another writer's commit has."""

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Happened:
    """What the emulator saw since it started.

    Attributes:
        refused: Requests that it could not carry out; each is a client that asks for more than the emulator has, or a
            mistake.
        overwritten: How often each object was replaced by a write without a condition.
        requests: How many came, by method and API.
        targets: How many came, by method, path and query.
    """

    refused: list[str]
    overwritten: dict[str, int]
    requests: dict[str, int]
    targets: dict[str, int]

    @property
    def overwritten_commits(self) -> list[str]:
        """Commits of Delta that were overwritten: each is a lost one."""
        return [name for name in self.overwritten if "/_delta_log/" in name and name.endswith(".json")]


class GcsService:
    """One emulator with the empty bucket `lake`.

    Args:
        folder: For its log.
        page: Entries in a page of a listing. The real store's is 1,000; few let every test see several pages.
    """

    def __init__(self, folder: Path, page: int = 20) -> None:
        [port] = free_ports(1)
        self.endpoint = f"http://{LOOPBACK}:{port}"
        command = [sys.executable, "-m", "tests.rigs.gcs.emulator", str(port), str(page)]
        self._process = LoggedProcess.begin(command, os.environ, folder / "gcs.log")
        while not self._listens(port):
            assert self._process.poll() is None, self._process.log.read_text()
            time.sleep(0.05)

    def env(self, prefix: str = "") -> dict[str, str]:
        """Return the variables of a lake in the bucket."""
        root = f"gs://{BUCKET}/{prefix}".rstrip("/")
        return {"LAKE_URI": root, "GCS_ENDPOINT_URL": self.endpoint}

    def happened(self) -> Happened:
        """Ask what happened."""
        return Happened(**self._control("GET"))

    def answer_everything(self, status: int | None) -> None:
        """Answer everything with an HTTP status from now on, or as usual again."""
        self._control("PUT", json.dumps({"status": status, "rivals": {}}).encode())

    def precede_commits(self, *tables: str) -> None:
        """Have the next commit of each table preceded by another writer's of the same version, which changes nothing.

        Args:
            *tables: Their names, each with the version that is to be taken.
        """
        commit = json.dumps({"commitInfo": {"timestamp": 0, "operation": RIVAL, "operationParameters": {}}})
        self._control("PUT", json.dumps({"status": None, "rivals": dict.fromkeys(tables, commit)}).encode())

    def _control(self, method: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.endpoint}{CONTROL}", body, method=method)
        with _NO_PROXY.open(request, timeout=60) as answer:
            state: dict[str, Any] = json.load(answer)
            return state

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, port)) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
