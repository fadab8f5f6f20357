"""A child process of a test, and what it prints."""

from __future__ import annotations

import subprocess
from pathlib import Path


class LoggedProcess(subprocess.Popen[str]):
    """A process whose output goes to a file that the test reads."""

    log: Path
