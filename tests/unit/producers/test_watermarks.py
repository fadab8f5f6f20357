"""Positions, watermarks shown and set back, and what a snapshot remembers: no service needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from platform_core.domain.catalog import load_catalog
from platform_core.errors import ConfigurationError
from platform_core.settings import REPOSITORY
from producers.cli import main
from producers.postgres.fence import MAX_WAITING_POLLS, Position, Version, _thinned
from producers.postgres.poller import TablePoller
from producers.postgres.snapshot_memory import SnapshotRefusedError, refuse_a_loss, vanished
from producers.postgres.stamp import Stamp
from producers.watermark import FileWatermark, describe, reset
from simulation.history.virtual import MemoryWatermark

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
AT = Stamp.of(NOW)


def test_a_position_covers_what_was_sent_and_nothing_else() -> None:
    position = Position(AT, (), (Version(Stamp.of(NOW + SECOND), 5),), low_key=7)
    assert position.covers(9, NOW - SECOND)
    assert position.covers(7, NOW) and not position.covers(8, NOW)
    assert position.covers(5, NOW + SECOND) and not position.covers(6, NOW + SECOND)
    assert not position.covers(5, NOW + 2 * SECOND)
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


def test_a_file_without_a_key_has_sent_all_of_its_time() -> None:
    saved = {"low": NOW.isoformat(), "polls": [], "sent": []}
    assert Position.from_json(saved).covers(2**62, NOW)


def test_many_held_polls_are_thinned_and_keep_the_oldest_and_the_newest() -> None:
    polls = tuple((Stamp.of(NOW + n * SECOND), n) for n in range(MAX_WAITING_POLLS + 1))
    assert _thinned(polls[:-1]) == polls[:-1]
    thinned = _thinned(polls)
    assert (thinned[0], thinned[-1]) == (polls[0], polls[-1])
    assert len(thinned) < len(polls) * 0.6 and set(thinned) < set(polls)


def test_describe_shows_each_source_that_has_a_file(tmp_path: Path) -> None:
    assert describe(tmp_path, CATALOG) == []
    position = Position(AT, ((AT, 7),), (Version(AT, 5), Version(AT, 6)))
    FileWatermark(tmp_path, "orders").save(position.to_json())  # as earlier versions of the platform saved it
    FileWatermark(tmp_path, "users").save({"extracted_at": None, "position": position.to_json()})
    FileWatermark(tmp_path, "restaurants").save({"snapshot_at": NOW.isoformat(), "restaurants": {"1": {}}})
    found = describe(tmp_path, CATALOG)
    assert [(s.source, s.low, s.held_polls, s.remembered_rows) for s in found] == [
        ("orders", NOW, 1, 2),
        ("restaurants", NOW, 0, 1),
        ("users", NOW, 1, 2),
    ]
    assert all(state.location.startswith(str(tmp_path)) for state in found)


def test_a_file_that_is_no_position_is_named(tmp_path: Path) -> None:
    FileWatermark(tmp_path, "orders").save({"high": 1})
    with pytest.raises(ConfigurationError, match=r"orders\.json` is not a watermark of `orders`\. Delete it"):
        describe(tmp_path, CATALOG)


@pytest.mark.parametrize("source", ["orders", "users"])
def test_a_reset_goes_back_and_never_forward_unasked(tmp_path: Path, source: str) -> None:
    position = Position(AT, ((AT, 7),), (Version(AT, 5),)).to_json()
    store = FileWatermark(tmp_path, source)
    store.save(position if source == "orders" else {"extracted_at": NOW.isoformat(), "position": position})
    with pytest.raises(ConfigurationError, match="would never be sent"):
        reset(tmp_path, CATALOG[source], NOW + SECOND)
    assert describe(tmp_path, CATALOG)[0].held_polls == 1

    reset(tmp_path, CATALOG[source], NOW - SECOND)
    [state] = describe(tmp_path, CATALOG)
    assert (state.low, state.held_polls, state.remembered_rows) == (NOW - SECOND, 0, 0)
    if source == "users":  # the increment is due again
        assert TablePoller(MagicMock(), MagicMock(domain=CATALOG["users"]), store).due(NOW)
    reset(tmp_path, CATALOG[source], NOW + SECOND, force=True)
    assert describe(tmp_path, CATALOG)[0].low == NOW + SECOND
    reset(tmp_path, CATALOG[source], None)
    reset(tmp_path, CATALOG[source], None)
    assert describe(tmp_path, CATALOG) == []
    with pytest.raises(ConfigurationError, match="would never be sent"):
        reset(tmp_path, CATALOG[source], NOW)


@pytest.mark.parametrize("to", [None, NOW])
def test_a_reset_waits_until_the_producer_is_stopped(tmp_path: Path, to: datetime | None) -> None:
    store = FileWatermark(tmp_path, "orders")
    store.save({"position": Position(AT).to_json()})
    with store.locked():
        with pytest.raises(ConfigurationError, match="The producer of `orders` runs"):
            reset(tmp_path, CATALOG["orders"], to)
        reset(tmp_path, CATALOG["users"], to, force=True)
    assert store.load() == {"position": Position(AT).to_json()}
    reset(tmp_path, CATALOG["orders"], to)


def test_a_reset_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    FileWatermark(tmp_path, "restaurants").save({"snapshot_at": NOW.isoformat()})
    with pytest.raises(ConfigurationError, match="no position in time"):
        reset(tmp_path, CATALOG["restaurants"], NOW)
    reset(tmp_path, CATALOG["restaurants"], None)
    assert describe(tmp_path, CATALOG) == []


def test_an_increment_that_was_interrupted_is_still_due() -> None:
    increment = TablePoller(MagicMock(), MagicMock(domain=CATALOG["users"]), store := MemoryWatermark())
    increment._save(Position(AT))
    assert TablePoller(MagicMock(), MagicMock(domain=CATALOG["users"]), store).due(NOW)


def snapshot(restaurants: int, items: int, **changes: Any) -> dict[str, dict[str, Any]]:
    return {
        str(number): {
            "restaurant_id": number,
            "deleted_at": None,
            "menu_items": [{"menu_item_id": number * 100 + item} for item in range(items)],
            **changes,
        }
        for number in range(restaurants)
    }


@pytest.mark.parametrize(
    ("now", "refused"),
    [
        (snapshot(5, 4), False),
        (snapshot(4, 9), True),
        (snapshot(10, 2), False),
        (snapshot(10, 1), True),
        (snapshot(10, 4, deleted_at="x"), True),
        ({}, True),
    ],
)
def test_half_may_be_lost_and_no_more(now: dict[str, Any], refused: bool) -> None:
    refuse_a_loss(CATALOG["restaurants"], {}, now)
    if not refused:
        refuse_a_loss(CATALOG["restaurants"], snapshot(10, 4), now)
        return
    with pytest.raises(SnapshotRefusedError, match="the last one had 10 and 40"):
        refuse_a_loss(CATALOG["restaurants"], snapshot(10, 4), now)


def test_what_vanished_is_deleted_at_the_snapshot_or_when_it_was() -> None:
    before = snapshot(3, 2)
    before["1"]["deleted_at"] = "earlier"
    gone = vanished(before, snapshot(1, 2), "now", "deleted_at")
    assert [(document["restaurant_id"], document["deleted_at"]) for document in gone] == [(1, "earlier"), (2, "now")]


def test_accepting_a_loss_is_for_one_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restaurants", "--accept-loss"]) == 2
    assert "`--once`" in capsys.readouterr().err
