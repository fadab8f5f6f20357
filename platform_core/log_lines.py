"""How a process of the platform writes its log: one line an event, its time in UTC, which the line says.

Levels, and which loggers are heard, belong to the process; Dagster's runs write as Dagster does.
"""

from __future__ import annotations

import logging
import sys
import time


def handler() -> logging.Handler:
    """Return what writes to stderr. The host's time zone is not asked: lines of several hosts are in one order."""
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(formatter)
    return stderr
