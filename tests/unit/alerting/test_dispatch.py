"""Each alert reaches each channel once; a channel that is down gets it later, and nobody else again."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from alerting.channels import Channel
from alerting.dispatch import PENDING_FOR, Dispatched, dispatch
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock

NOW = datetime(2026, 11, 21, 6, 5, tzinfo=UTC)


def alert(number: int) -> Alert:
    return Alert(
        key=f"dead:orders:{number}",
        kind=AlertKind.DEAD,
        domain="orders",
        partition_date=date(2026, 11, number),
        what="It is dead.",
        where="orders",
        command="pdp partitions revive orders",
        at=datetime(2026, 11, number, tzinfo=UTC),
    )


class Recorder:
    """A channel that fails as often as it was told to."""

    def __init__(self, name: str, *failures: Exception, refuses: str = "") -> None:
        self.name = name
        self.failures = list(failures)
        self.refuses = refuses
        self.tried: list[str] = []
        self.taken: list[str] = []

    def send(self, alert: Alert) -> None:
        self.tried.append(alert.key)
        if alert.key == self.refuses:
            raise PermanentError("No.")
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(alert.key)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def log(tmp_path: Path, clock: FakeClock) -> AlertLog:
    return AlertLog(Lake(Settings(lake_uri=str(tmp_path / "lake"))), clock)


def test_a_channel_that_failed_once_gets_it_once_and_the_other_is_not_told_again(
    log: AlertLog, clock: FakeClock
) -> None:
    kafka, slack = Recorder("kafka"), Recorder("slack", TransientError("down"))
    channels: list[Channel] = [slack, kafka]
    assert dispatch(log, [alert(1)], channels, clock) == Dispatched(raised=1, sent=1, failed=1)
    assert (kafka.taken, slack.taken) == ([alert(1).key], [])
    assert dispatch(log, [alert(1)], channels, clock) == Dispatched(raised=0, sent=1, failed=0)
    assert dispatch(log, [alert(1)], channels, clock) == Dispatched(raised=0, sent=0, failed=0)
    assert (kafka.taken, slack.taken) == ([alert(1).key], [alert(1).key])


def test_an_outage_costs_one_attempt_a_tick_and_keeps_the_order(log: AlertLog, clock: FakeClock) -> None:
    slack = Recorder("slack", ConnectionError("a bug of a channel is an outage too"))
    dispatch(log, [alert(2), alert(1), alert(3)], [slack], clock)
    assert slack.tried == [alert(1).key]
    dispatch(log, [], [slack], clock)
    assert slack.taken == [alert(1).key, alert(2).key, alert(3).key]


def test_an_alert_that_is_refused_does_not_hold_up_those_behind_it(log: AlertLog, clock: FakeClock) -> None:
    slack = Recorder("slack", refuses=alert(1).key)
    assert dispatch(log, [alert(1), alert(2)], [slack], clock) == Dispatched(raised=2, sent=1, failed=1)
    assert slack.taken == [alert(2).key]
    assert [a.key for a in log.pending("slack")] == [alert(1).key]


def test_a_new_channel_is_not_flooded_with_what_is_long_over(log: AlertLog, clock: FakeClock) -> None:
    dispatch(log, [alert(1)], [], clock)
    clock.advance(seconds=PENDING_FOR.total_seconds() + 1)
    dispatch(log, [alert(2)], [slack := Recorder("slack")], clock)
    assert slack.taken == [alert(2).key]


def test_a_crash_between_sending_and_noting_repeats_one_alert(
    log: AlertLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_key: str, _channel: str) -> None:
        raise KeyboardInterrupt

    kafka = Recorder("kafka")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(log, "delivered", crash)
        dispatch(log, [alert(1), alert(2)], [kafka], clock)
    dispatch(log, [alert(1), alert(2)], [kafka], clock)
    assert kafka.taken == [alert(1).key, alert(1).key, alert(2).key]


def test_importing_the_package_loads_neither_client() -> None:
    import subprocess
    import sys

    code = "import sys, alerting.collect, alerting.channels, alerting.dispatch;print('confluent_kafka' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
