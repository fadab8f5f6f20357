"""What a benchmark counts as a process's memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.usage import of_program, resident_bytes

_MEBIBYTE = 2**20


def test_a_fork_that_is_no_program_yet_does_not_count_its_parents_memory_again() -> None:
    forks = f"import os; kept = b'1' * {200 * _MEBIBYTE}; os.fork() and print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", forks], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert 200 * _MEBIBYTE < resident_bytes(process.pid) < 300 * _MEBIBYTE
    process.communicate()


def test_the_peak_of_a_program_is_its_own_however_much_its_parent_has(tmp_path: Path) -> None:
    kept = b"1" * (200 * _MEBIBYTE)
    usage = of_program([sys.executable, "-c", "kept = b'1' * (50 << 20)"], tmp_path / "log", {})
    assert usage.peak_bytes < len(kept) / 2
