"""The time of a line of the log."""

from __future__ import annotations

import logging
import time

import pytest

from platform_core import log_lines


def test_a_line_is_of_utc_and_says_so_wherever_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord("sink", logging.INFO, "", 1, "started domains=%s", ("events",), None)
    record.created, record.msecs = 1_800_000_000.25, 250.0
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert log_lines.handler().format(record) == "2027-01-15T08:00:00.250Z INFO sink started domains=events"
    finally:
        monkeypatch.undo()
        time.tzset()
