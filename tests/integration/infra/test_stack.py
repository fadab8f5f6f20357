"""The stack as a whole: side by side, on its own folder only, and gone with its owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg2
import pytest

from infra.embedded.errors import StackError
from infra.embedded.processes.process import child_environment
from infra.embedded.progress import Reporter
from infra.embedded.stack import ALL_SERVICES, Stack
from infra.embedded.toolchain.toolchain import REPOSITORY

QUIET = Reporter(quiet=True)


def in_sessions(leaders: list[int]) -> list[int]:
    """Return the living processes of the sessions that the given processes lead, themselves included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z" and int(session) in leaders:
            found.append(int(stat.parent.name))
    return found


def run_owner(root: Path, services: Sequence[str]) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a process that owns a stack; return it and its services' process ids."""
    script = f"""
        from pathlib import Path
        from infra.embedded.stack import ALL_SERVICES, Stack
        import time
        with Stack(Path({str(root)!r}), services={services!r}, engine="sail") as stack:
            print("up", flush=True)
            time.sleep(120)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment({"PYTHONPATH": str(REPOSITORY)}),
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    state = json.loads((root / "stack.json").read_text())
    return owner, [service["pid"] for service in state["services"].values()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_owner(tmp_path: Path, number: signal.Signals) -> None:
    # Its owner's death is what each service notices by itself; an owner that is asked ends all alike.
    services = ALL_SERVICES if number == signal.SIGKILL else ("postgres", "warehouse")
    owner, pids = run_owner(tmp_path / "stack", services)
    assert len(pids) == len(services)
    assert set(pids) <= set(in_sessions(pids))
    owner.send_signal(number)
    owner.wait(30)
    deadline = time.monotonic() + 60
    while (left := in_sessions(pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    # A killed owner cannot tidy up; one that was asked to end does.
    assert (tmp_path / "stack" / "stack.json").exists() == (number == signal.SIGKILL)


def test_a_second_stack_runs_beside_the_first(tmp_path: Path) -> None:
    names = ("kafka", "postgres")
    with Stack(tmp_path / "a", services=names, reporter=QUIET) as first:
        with Stack(tmp_path / "b", services=names, reporter=QUIET) as second:
            ports = {service.port for stack in (first, second) for service in stack.services.values()}
            assert len(ports) == 4
            assert second.env()["LAKE_URI"] == str(tmp_path / "b" / "lake")
        assert first.alive()
        psycopg2.connect(first.env()["POSTGRES_DSN"]).close()
        state = (tmp_path / "a" / "stack.json").read_text()
        assert first.env()["KAFKA_PASSWORD"] not in state
        # What is written by hand has ports and ids only.
        open_files = [p for p in (tmp_path / "a").rglob("*") if p.is_file() and p.stat().st_mode & 0o077]
        assert {p.name for p in open_files} <= {"stack.json", "stack.lock", "server.properties", "meta.properties"}
        folders = [(tmp_path / "a" / name).stat().st_mode & 0o777 for name in ("lake", "state", "logs")]
        assert folders == [0o700] * 3


def test_a_folder_belongs_to_one_stack_at_a_time(tmp_path: Path) -> None:
    second = Stack(tmp_path / "a", services=("postgres",), reporter=QUIET)
    with (
        Stack(tmp_path / "a", services=("postgres",), reporter=QUIET),
        pytest.raises(StackError, match="Another stack runs"),
    ):
        second.start()
    with Stack(tmp_path / "a", services=("postgres",), reporter=QUIET) as again:
        assert again.alive()


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="is not empty"):
        Stack(tmp_path, reporter=QUIET).start()
    assert (tmp_path / "thesis.txt").exists()


def test_an_unknown_service_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="`redis`"):
        Stack(tmp_path, services=("redis",))


def test_a_service_that_cannot_start_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.embedded.errors import ServiceStartError
    from infra.embedded.services import kafka

    monkeypatch.setattr(kafka, "server_properties", lambda *_args, **_kwargs: "process.roles=nonsense\n")
    stack = Stack(tmp_path / "a", services=("kafka", "postgres"), reporter=QUIET)
    with pytest.raises(ServiceStartError, match="nonsense"):
        stack.start()
    assert not stack.alive()
    assert stack.services == {}
