"""A test that fails while a service is dead must not take the tests after it along."""

from __future__ import annotations

from pathlib import Path

from infra.embedded.processes.service import EmbeddedService
from tests.rigs.faults.revived import revived


class Sleeper(EmbeddedService):
    """A service that only lives."""

    name = "sleeper"

    def prepare(self) -> None:
        return

    def launch(self) -> None:
        self._run(["/bin/sleep", "600"])

    def env(self) -> dict[str, str]:
        return {}


def test_a_service_that_was_left_dead_is_alive_for_the_next_test(tmp_path: Path) -> None:
    with Sleeper(tmp_path / "sleeper", durable=True) as service:
        alive = service.pid
        assert revived(service).pid == alive, "a service that lives is left alone"
        service.crash()
        assert revived(service).pid not in (None, alive)
