"""What `make up` does while it stays: what ended by itself starts again, a process like a part of a service."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from infra.embedded.commands import up
from infra.embedded.processes import restarts
from infra.embedded.processes.process import ManagedProcess
from infra.embedded.processes.workers import Workers
from infra.embedded.progress import Reporter
from infra.embedded.stack import Stack


class Dead:
    def __init__(self, name: str) -> None:
        self.name, self.log = name, Path(f"/logs/{name}.log")

    def log_tail(self) -> str:
        return f"the end of {self.name}"


class Platform:
    """Stands for stack and workers: all is well again once everything that was dead is started."""

    def __init__(self) -> None:
        self.processes = {"sink": Dead("sink")}
        self.parts = {"spark/worker-2": Dead("spark_worker")}
        self.running = {"sink": object(), "shop": object()}
        self.services: dict[str, object] = {}
        self.root = Path("/platform")
        self.started: list[str] = []

    def alive(self) -> bool:
        return bool(self.processes or self.parts)

    def dead(self) -> list[ManagedProcess]:
        return cast(list[ManagedProcess], list(self.processes.values()))

    def dead_parts(self) -> dict[str, Dead]:
        return dict(self.parts)

    def restart(self, name: str) -> None:
        self.started.append(f"process {name}")
        del self.processes[name]

    def restart_part(self, name: str) -> None:
        self.started.append(f"part {name}")
        del self.parts[name]


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_dead_worker_of_the_cluster_starts_again_as_a_dead_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.embedded.commands.up.time.sleep", lambda _: None)
    monkeypatch.setattr(restarts, "SHORTEST_PAUSE_SECONDS", 0.0)
    platform, lines = Platform(), Lines()
    up._supervise(cast(Stack, platform), cast(Workers, platform), lines)
    assert sorted(platform.started) == ["part spark/worker-2", "process sink"]
    assert any("spark/worker-2 ended by itself and starts again" in line for line in lines.lines)
    assert any("the end of spark_worker" in line for line in lines.lines)
