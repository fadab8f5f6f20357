"""A child process of a test, and what it prints."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from platform_core.settings import REPOSITORY


class LoggedProcess(subprocess.Popen[str]):
    """A process whose output goes to a file that the test reads."""

    log: Path

    @classmethod
    def begin(cls, command: Sequence[str], env: Mapping[str, str], log: Path, **options: Any) -> Self:
        """Start a command in the repository's folder, with this whole environment and options of `Popen`.

        Args:
            log: A file that no other process has; a number is added where one has it.
        """
        free = (log, *(log.with_stem(f"{log.stem}-{number}") for number in range(1, 10_000)))
        log = next(path for path in free if not path.exists())
        with log.open("x") as file:
            process = cls(list(command), cwd=REPOSITORY, env=dict(env), stdout=file, stderr=file, text=True, **options)
        process.log = log
        return process
