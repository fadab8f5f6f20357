"""What work used: CPU seconds of every process that took part, wall time, and memory.

Reading /proc belongs here. Which work is measured, and how figures of several rounds become one, does not.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.processes.process import child_environment
from platform_core.settings import REPOSITORY

_SAMPLE_SECONDS = 0.1
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LOG_TAIL = 2_000


@dataclass(frozen=True)
class Usage:
    """What one piece of work used.

    Attributes:
        cpu_seconds: User and system time of its processes and of the services that worked for it.
        wall_seconds: From its start to its end.
        peak_bytes: The most that they had resident at once; pages that two share count twice.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


class ProgramFailedError(RuntimeError):
    """A contestant ended with an error, so that nothing was measured."""


def of_program(argv: Sequence[str], log: Path, env: Mapping[str, str], services: Sequence[int] = ()) -> Usage:
    """Run a program to its end and return what it, its children and the services used meanwhile.

    Args:
        argv: Program and arguments.
        log: File that gets its output.
        env: Variables besides those that every child inherits.
        services: Process ids of servers that work for it and were started before.

    Raises:
        ProgramFailedError: it did not end with 0.
    """
    before = sum(map(cpu_seconds, services))
    started, peak = time.monotonic(), 0
    with log.open("w") as output:
        process = subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env=child_environment({"PYTHONPATH": str(REPOSITORY), **env}),
            stdout=output,
            stderr=output,
        )
        while True:
            peak = max(peak, sum(map(resident_bytes, (process.pid, *services))), _most_resident(process.pid))
            # wait4 alone says what this child used; its children are in it, because it waits for each of them.
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(_SAMPLE_SECONDS)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-_LOG_TAIL:]
        raise ProgramFailedError(f"`{' '.join(argv)}` ended with {process.returncode}. Its output ends with:\n{tail}")
    cpu = used.ru_utime + used.ru_stime + sum(map(cpu_seconds, services)) - before
    return Usage(cpu, wall, peak)


def of_call(call: Callable[[], object], services: Sequence[int] = ()) -> Usage:
    """Return what a call in this process, and the services meanwhile, used; memory is what is resident at its end."""
    before = time.process_time() + sum(map(cpu_seconds, services))
    started = time.monotonic()
    call()
    wall = time.monotonic() - started
    cpu = time.process_time() + sum(map(cpu_seconds, services)) - before
    return Usage(cpu, wall, sum(map(resident_bytes, (os.getpid(), *services))))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, its children, and those of them that have ended and were waited for."""
    total = 0
    for member in _tree(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime of proc(5)
    return total / _TICKS_A_SECOND


def resident_bytes(pid: int, *, children_only: bool = False) -> int:
    """Return what a process and its children, or those alone, have resident now; 0 when it has ended.

    A child that has just been forked, and is no program of its own yet, shows all the memory of its parent: a JVM that
    starts a command seemed to have twice its size. It is left out.
    """
    total = 0
    for member in _tree(pid):
        if children_only and member == pid:
            continue
        try:
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{member}/status").read_text().splitlines())
            if member != pid and _command(member) == _command(int(fields["PPid"])):
                continue
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
    return total


def proportional_bytes(pid: int) -> int:
    """Return what a process and its children have resident, a page that several share divided among them (PSS)."""
    total = 0
    for member in _tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += _kibibytes(Path(f"/proc/{member}/smaps_rollup").read_text(), "Pss") * 1024
    return total


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    started: list[int] = []
    with suppress(FileNotFoundError):  # it ended while its threads were listed
        for thread in list(Path(f"/proc/{pid}/task").iterdir()):
            with suppress(FileNotFoundError, ProcessLookupError):
                started += map(int, (thread / "children").read_text().split())
    return started


def _most_resident(pid: int) -> int:
    """The most that a process has had resident; `ru_maxrss` is its parent's of before the fork, if that was more."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return _kibibytes(text, "VmHWM") * 1024


def _kibibytes(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:")), 0)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children(pid):
        yield from _tree(child)
