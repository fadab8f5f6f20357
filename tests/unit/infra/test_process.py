"""A child process's life: readiness, its log, its death with the thread, the group and the parent."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from infra.embedded.errors import ServiceStartError
from infra.embedded.processes.ports import accepts_connections, free_ports
from infra.embedded.processes.process import ManagedProcess, child_environment
from infra.embedded.toolchain.toolchain import REPOSITORY


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually_gone(*pids: int, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(exists(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_what_a_process_writes_and_its_log_are_its_users_alone(tmp_path: Path) -> None:
    script = f"mkdir -p {tmp_path}/lake/bronze; echo x > {tmp_path}/lake/bronze/file; echo said"
    process = ManagedProcess("demo", ["/bin/sh", "-c", script], log=tmp_path / "logs" / "demo.log")
    deadline = time.monotonic() + 60
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "logs" / "demo.log").read_text() == "said\n"
    written = [tmp_path / "lake", tmp_path / "lake/bronze", tmp_path / "lake/bronze/file", tmp_path / "logs/demo.log"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in written] == [0o700, 0o700, 0o600, 0o600]


def test_a_process_that_ends_fails_the_wait_at_once_with_its_log_and_without_its_secret(tmp_path: Path) -> None:
    process = ManagedProcess(
        "demo", ["/bin/sh", "-c", "echo cannot open port, password $PW; exit 3"],
        log=tmp_path / "demo.log", env={"PW": "hunter2"}, secrets=["hunter2"],
    )  # fmt: skip
    started = time.monotonic()
    with pytest.raises(ServiceStartError) as failure:
        process.wait_ready(lambda: False, timeout_seconds=600)
    assert time.monotonic() - started < 60
    assert "cannot open port, password ***" in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert "ended with exit code 3" in str(failure.value)


def test_a_silent_process_is_ended_when_the_time_is_over(tmp_path: Path) -> None:
    process = ManagedProcess("demo", ["/bin/sleep", "60"], log=tmp_path / "demo.log")
    with pytest.raises(ServiceStartError, match="did not answer within"):
        process.wait_ready(lambda: False, timeout_seconds=0.3)
    assert not process.alive


def test_stop_ends_the_whole_group_even_when_it_ignores_the_request(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done"
    process = ManagedProcess("demo", ["/bin/sh", "-c", script], log=tmp_path / "demo.log")
    process.wait_ready(lambda: bool(process.log_tail()), 10)
    grandchild = int(process.log_tail())
    process.stop(grace_seconds=0.3)
    assert eventually_gone(process.pid, grandchild)


def test_a_process_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[ManagedProcess] = []

    def start() -> None:
        process = ManagedProcess("demo", ["/bin/sleep", "60"], log=tmp_path / "demo.log")
        # The death signal is set once the program itself runs; only then does the end of the thread matter.
        command = Path(f"/proc/{process.pid}/cmdline")
        process.wait_ready(lambda: command.read_bytes().startswith(b"/bin/sleep"), 20)
        started.append(process)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.5)
    assert started[0].alive
    started[0].stop(grace_seconds=1)


@pytest.mark.parametrize("as_other_user", [False, True])
def test_a_killed_parent_takes_its_child_along(tmp_path: Path, as_other_user: bool) -> None:
    if as_other_user and os.geteuid() != 0:
        pytest.skip("only root can start a child as another user")
    credentials = "Credentials(65534, 65534)" if as_other_user else "None"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import time
                from pathlib import Path
                from infra.embedded.processes.process import Credentials, ManagedProcess
                p = ManagedProcess("demo", ["/bin/sleep", "60"], log=Path({str(tmp_path / "demo.log")!r}),
                                   credentials={credentials})
                time.sleep(0.5)
                print(p.pid, flush=True)
                time.sleep(60)
            """),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment({"PYTHONPATH": str(REPOSITORY)}),
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert exists(child)
    if as_other_user:
        assert Path(f"/proc/{child}").stat().st_uid == 65534
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert eventually_gone(child)


def test_a_child_does_not_inherit_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    assert "KAFKA_PASSWORD" not in child_environment()


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not accepts_connections(ports[0])
