"""On which kind of machine, of which commit and how busy it was a run was made; nothing that names the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from platform_core.settings import REPOSITORY


@dataclass(frozen=True)
class Circumstances:
    """What figures depend on besides the code.

    Attributes:
        at: When the run began, UTC.
        commit: Of the repository, with `+` when files were changed since.
        cores: Logical cores.
        processor: The model, as the kernel calls it.
        memory_gib: Of the machine.
        load: Processes that ran or waited when the run began, averaged over a minute; above `cores` it is a busy
            machine, and wall times say nothing.
        python: Version of the interpreter.
    """

    at: str
    commit: str
    cores: int
    processor: str
    memory_gib: float
    load: float
    python: str


def circumstances() -> Circumstances:
    """Return those of this moment."""
    return Circumstances(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        cores=os.cpu_count() or 1,
        processor=_processor(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        load=round(os.getloadavg()[0], 1),
        python=platform.python_version(),
    )


def _commit() -> str:
    """Return the commit; empty where the code is no git checkout."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
