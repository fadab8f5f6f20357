"""The alert log on a real Delta table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from platform_core.lake import contended_table
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock

NOW = datetime(2026, 11, 21, 6, 5, 4, 123456, tzinfo=UTC)


def alert(key: str, domain: str | None = "orders", at: datetime = NOW) -> Alert:
    return Alert(key, AlertKind.DEAD, domain, date(2026, 11, 20), "Dead — it's `so`.", "here", "pdp x", at)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def log(lake: Lake, clock: FakeClock) -> AlertLog:
    return AlertLog(lake, clock)


def test_an_empty_log_answers(log: AlertLog) -> None:
    assert log.new([]) == []
    assert log.pending("kafka") == []
    assert log.read() == []
    log.delivered("unknown", "kafka")
    assert log.read() == []


def test_an_alert_is_new_once_and_comes_back_as_it_was(log: AlertLog, lake: Lake, clock: FakeClock) -> None:
    assert log.new([alert("a"), alert("a"), alert("b", None)]) == [alert("a"), alert("b", None)]
    clock.advance(minutes=1)
    assert AlertLog(lake, clock).new([alert("a"), alert("c")]) == [alert("c")]
    assert [(e.alert, e.raised_at, e.channels) for e in log.read()] == [
        (alert("a"), NOW, ()),
        (alert("b", None), NOW, ()),
        (alert("c"), NOW + timedelta(minutes=1), ()),
    ]


def test_deliveries_are_noted_for_each_channel(log: AlertLog) -> None:
    log.new([alert("late", at=NOW), alert("early", at=NOW - timedelta(hours=1))])
    assert [a.key for a in log.pending("kafka")] == ["early", "late"]
    log.delivered("early", "kafka")
    log.delivered("early", "kafka")
    log.delivered("early", "slack")
    assert [a.key for a in log.pending("kafka")] == [a.key for a in log.pending("slack")] == ["late"]
    assert log.read()[0].channels == ("kafka", "slack")
    assert log.new([alert("early")]) == []
    assert log.read()[0].channels == ("kafka", "slack")


def test_reading_is_limited_by_domain_and_time(log: AlertLog, clock: FakeClock) -> None:
    log.new([alert("a")])
    clock.advance(hours=1)
    log.new([alert("b"), alert("c", "events")])
    assert [e.alert.key for e in log.read("orders")] == ["a", "b"]
    assert [e.alert.key for e in log.read(since=NOW + timedelta(hours=1))] == ["b", "c"]
    assert [a.key for a in log.pending("kafka", since=NOW + timedelta(hours=1))] == ["b", "c"]


def test_writers_at_the_same_time_neither_lose_nor_double(lake: Lake, clock: FakeClock) -> None:
    AlertLog(lake, clock).new([alert("first")])
    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(lambda n: AlertLog(lake, clock).new([alert("same"), alert(f"own {n}")]), range(4)))
    assert sum(alert("same") in found for found in new) == 1
    keys = [e.alert.key for e in AlertLog(lake, clock).read()]
    assert sorted(keys) == ["first", "own 0", "own 1", "own 2", "own 3", "same"]


def test_small_files_are_compacted(log: AlertLog, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPACT_EVERY_COMMITS", "CHECKPOINT_EVERY_COMMITS"):
        monkeypatch.setattr(contended_table, name, 5)
    for number in range(5):
        log.new([alert(f"a{number}")])
    assert len(lake.delta(lake.alerts).file_uris()) == 1
    assert len(log.read()) == 5
