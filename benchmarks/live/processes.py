"""What each process of a platform has resident and uses, by its name.

A process is named by the log that it writes to, because most of them are `python -m` something.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.usage import children, cpu_seconds, proportional_bytes

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Idle:
    """What a process has resident and uses while nothing is processed.

    Attributes:
        proportional_mebibytes: Of it and its children; a page that several share is divided among them (PSS).
        cpu_seconds_a_minute: Of it and its children.
    """

    proportional_mebibytes: float
    cpu_seconds_a_minute: float


def by_name(supervisor: int) -> dict[str, int]:
    """Return the process ids of the children of a supervisor by the names of their logs."""
    names: dict[str, int] = {}
    for pid in children(supervisor):
        with suppress(FileNotFoundError, ProcessLookupError):
            names[Path(f"/proc/{pid}/fd/1").readlink().stem] = pid
    return names


def idle(supervisor: int, seconds: float) -> dict[str, Idle]:
    """Watch a platform's processes for some time and return what each used and has resident at the end.

    Args:
        supervisor: Its process id; what it uses itself is what its children do not.
        seconds: How long.
    """
    pids = by_name(supervisor)
    started = time.monotonic()
    before = {pid: cpu_seconds(pid) for pid in (supervisor, *pids.values())}
    time.sleep(seconds)
    minutes = (time.monotonic() - started) / 60
    # All at once, because asking for memory takes CPU of its own.
    used_seconds = {pid: cpu_seconds(pid) - earlier for pid, earlier in before.items()}

    def used(pid: int) -> Idle:
        return Idle(proportional_bytes(pid) / MEBIBYTE, used_seconds[pid] / minutes)

    shares = {name: used(pid) for name, pid in pids.items()}
    whole = used(supervisor)
    own = Idle(
        whole.proportional_mebibytes - sum(each.proportional_mebibytes for each in shares.values()),
        whole.cpu_seconds_a_minute - sum(each.cpu_seconds_a_minute for each in shares.values()),
    )
    return {**shares, "supervisor": own, "all": whole}
