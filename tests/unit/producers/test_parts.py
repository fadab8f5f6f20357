"""Watermarks, schedules, an order's life, the command line: what needs no service."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.settings import REPOSITORY
from producers.cli import main as producers_main
from producers.postgres.fence import Numbers, Position, Version
from producers.postgres.poller import TablePoller
from producers.postgres.snapshot import Snapshot
from producers.postgres.stamp import Stamp
from producers.running import Stop, run_every
from producers.watermark import FileWatermark
from simulation.cli import main as simulation_main
from simulation.history.replay import Plan
from simulation.history.virtual import MemoryWatermark
from simulation.shop.lifecycle import FLOW, Progress, advance
from simulation.world import day_ids

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def test_a_watermark_survives_a_crash_while_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileWatermark(tmp_path / "state", "orders")
    assert store.load() is None
    store.save({"low": 1})
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store.path, store.path.parent)] == [0o600, 0o700]

    def crash(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        store.save({"low": 2})
    assert store.load() == {"low": 1}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"low"'])
def test_a_broken_watermark_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "orders.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"orders\.json` is not a watermark. Delete it"):
        FileWatermark(tmp_path, "orders").load()


def test_a_position_survives_json() -> None:
    at, later = Stamp.of(NOW), Stamp.parse("12345-06-01 00:00:00+00")
    position = Position(at, ((at, 7), (later, 9)), (Version(at, 5),), 3, Numbers(1, 2, 3), "4/5")
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, NOW, True),
        ("2026-03-10T12:00:00+00:00", datetime(2026, 3, 10, 12, 59, 59, tzinfo=UTC), False),
        ("2026-03-10T12:59:59+00:00", datetime(2026, 3, 10, 13, 0, 0, tzinfo=UTC), True),
        ("2026-03-08T12:00:00+00:00", NOW, True),
        ("2027-03-08T12:00:00+00:00", NOW, True),
    ],
)
def test_a_snapshot_is_due_each_hour(last: str | None, now: datetime, due: bool) -> None:
    watermark = MemoryWatermark(None if last is None else {"snapshot_at": last})
    assert Snapshot(MagicMock(), MagicMock(domain=CATALOG["restaurants"]), watermark).due(now) is due


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, NOW, True),
        ("2026-03-09T23:55:00+00:00", datetime(2026, 3, 10, 23, 54, tzinfo=UTC), False),
        ("2026-03-09T23:55:00+00:00", datetime(2026, 3, 10, 23, 55, 1, tzinfo=UTC), True),
        ("2026-03-10T00:10:00+00:00", datetime(2026, 3, 10, 12, 0, tzinfo=UTC), False),
        ("2026-03-07T23:55:00+00:00", NOW, True),
        ("2036-03-07T23:55:00+00:00", NOW, True),
    ],
)
def test_an_increment_is_due_before_midnight_or_when_one_was_missed(last: str | None, now: datetime, due: bool) -> None:
    document: dict[str, Any] | None = None if last is None else {"extracted_at": last, "position": Position().to_json()}
    assert TablePoller(MagicMock(), MagicMock(domain=CATALOG["users"]), MemoryWatermark(document)).due(now) is due


def test_an_order_lives_the_same_in_one_step_or_many() -> None:
    ends = set()
    for order_id in range(300):
        whole = advance(order_id, Progress("placed", NOW), NOW + timedelta(days=2), seed=1, speed=1)
        step, seen = Progress("placed", NOW), ["placed"]
        for minute in range(0, 2_880, 7):
            step = advance(order_id, step, NOW + timedelta(minutes=minute), seed=1, speed=1)
            if step.status != seen[-1]:
                seen.append(step.status)
        assert step == whole
        assert seen == [status for status in (*FLOW, "cancelled") if status in seen]
        ends.add(whole.status)
    assert ends == {"delivered", "cancelled"}


def test_nothing_due_is_the_same_object() -> None:
    progress = Progress("placed", NOW)
    assert advance(1, progress, NOW, seed=1, speed=1) is progress
    done = Progress("delivered", NOW)
    assert advance(1, done, NOW + timedelta(days=9), seed=1, speed=1) is done


def test_ids_name_their_day() -> None:
    assert list(day_ids(date(2026, 3, 10), 2)) == [260310000001, 260310000002]


@pytest.mark.parametrize(
    ("days", "domains", "message"),
    [
        (0, ["events"], "at least one day"),
        (1, ["couriers"], "no source for `couriers`"),
        (3_000, ["users"], "opened on"),
    ],
)
def test_a_senseless_plan_is_refused(days: int, domains: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Plan.before(date(2026, 3, 10), days, 100, domains)


def test_a_plan_ends_before_its_end() -> None:
    plan = Plan.before(date(2026, 3, 10), 2, 860_000)
    assert plan.days == (date(2026, 3, 8), date(2026, 3, 9))
    assert (plan.end, plan.orders_per_day) == (date(2026, 3, 10), 480)


def test_rounds_stop_when_told() -> None:
    stop, rounds = Stop(), []

    def act() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            stop.set()

    run_every(0.001, act, stop, lambda: None)
    assert len(rounds) == 3


@pytest.mark.parametrize(
    ("main", "program", "command"),
    [
        (producers_main, "producers", []),
        (producers_main, "producers", ["clickstream", "--once"]),
        (simulation_main, "simulation", ["replay"]),
        (simulation_main, "simulation", ["late", "--date", "yesterday"]),
    ],
)
def test_wrong_arguments_are_explained(main, program, command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 2
    assert f"usage: python -m {program}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "commands"),
    [
        (producers_main, ("provision", "clickstream", "orders", "restaurants", "users", "release-contracts")),
        (simulation_main, ("shop-init", "simulate-shop", "replay", "late")),
    ],
)
def test_help_lists_every_command(main, commands, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert [command for command in commands if command not in text] == []


def snapshot_of(rows: dict[int, str], watermark: MemoryWatermark) -> tuple[list[Any], list[Any]]:
    """Take a snapshot of rows, and return what was sent as records and as text."""
    connection, delivery = MagicMock(), MagicMock(domain=CATALOG["restaurants"])
    connection.cursor().__enter__().fetchall.return_value = list(rows.items())
    Snapshot(connection, delivery, watermark).take(NOW)
    return (
        [call.args[0]["restaurant_id"] for call in delivery.send.call_args_list],
        [call.args[:2] for call in delivery.send_text.call_args_list],
    )


@pytest.mark.parametrize("value", ["1e400", r'"\ud800"', "NaN", '"', "[" * 2000])
def test_a_row_that_is_no_json_is_one_dead_letter_and_the_other_rows_go_on(value: str) -> None:
    def text(number: int, menu: str = "[]") -> str:
        return f'{{"restaurant_id": {number}, "deleted_at": null, "menu_items": {menu}}}'

    watermark = MemoryWatermark()
    good = {number: text(number) for number in (1, 2, 3)}
    assert snapshot_of(good, watermark) == ([1, 2, 3], [])
    broken = {**good, 2: text(2, f"[{value}]"), 4: text(4, f"[{value}]")}
    # 2 is still there: it is neither sent as deleted nor forgotten.
    assert snapshot_of(broken, watermark) == ([1, 3], [("2", broken[2]), ("4", broken[4])])
    assert snapshot_of(good, watermark) == ([1, 2, 3], [])
    del good[2]
    assert snapshot_of(good, watermark) == ([1, 3, 2], [])


@pytest.mark.parametrize("menu", ["null", "7", '{"a": 1}', '"text"'])
def test_a_part_that_is_no_list_is_a_record_for_the_contract(menu: str) -> None:
    rows = {1: f'{{"restaurant_id": 1, "deleted_at": null, "menu_items": {menu}}}'}
    watermark = MemoryWatermark()
    assert snapshot_of(rows, watermark) == snapshot_of(rows, watermark) == ([1], [])
