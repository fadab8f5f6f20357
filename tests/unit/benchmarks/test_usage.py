"""What a benchmark counts as a process's memory."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.usage import resident_bytes

_MEBIBYTE = 2**20


def test_a_fork_that_is_no_program_yet_does_not_count_its_parents_memory_again() -> None:
    forks = f"import os; kept = b'1' * {200 * _MEBIBYTE}; os.fork() and print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", forks], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert 200 * _MEBIBYTE < resident_bytes(process.pid) < 300 * _MEBIBYTE
    process.communicate()
