"""A server's clock that stepped back is told of once, and small corrections are not."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from platform_core.errors import TransientError
from platform_core.lake.alerts import Alert, AlertKind
from producers.postgres.watermark_alarm import WatermarkAlarm

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def reader(seconds: float) -> Any:
    return SimpleNamespace(stepped_back_seconds=seconds, held_seconds=0.0, polled_at=NOW)


def test_a_step_back_raises_an_alert_and_a_small_correction_does_not() -> None:
    sent: list[Alert] = []
    alarm = WatermarkAlarm("orders", 300.0, sent.append)
    for seconds in (0.0, 0.2, 3_600.0, 0.0):
        alarm.check(reader(seconds))
    (alert,) = sent
    assert (alert.kind, alert.domain, alert.at) == (
        AlertKind.SOURCE_CLOCK_STEPPED_BACK,
        "orders",
        NOW,
    )
    assert "3,600 s behind" in alert.what


def test_rows_do_not_wait_for_an_alert_that_kafka_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(alert: Alert) -> None:
        raise TransientError("away")

    WatermarkAlarm("orders", 300.0, refuse).check(reader(60.0))
    assert "clock_stepped_back source=orders seconds=60" in caplog.text and "alert_not_sent" in caplog.text
