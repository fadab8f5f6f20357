"""The store's clock beside ours: a file's age is the same on whichever host it is judged."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from platform_core.errors import TransientError
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.lake.store_clock import by_our_clock
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock

DAY = date(2026, 11, 18)


@pytest.mark.parametrize("minutes_ahead", [-9, 0, 9])
def test_a_young_file_has_the_age_that_the_store_gives_it(tmp_path: Path, minutes_ahead: int) -> None:
    lake, stores = Lake(Settings(lake_uri=str(tmp_path))), datetime.now(UTC)
    ours = FakeClock(stores + timedelta(minutes=minutes_ahead))
    file = BronzeFile("part-1.parquet", 9, stores - timedelta(seconds=40))
    [seen] = by_our_clock(lake, "events", {DAY: [file]}, ours)[DAY]
    assert abs((ours.now() - seen.modified_at).total_seconds() - 40) <= 3
    assert (lake.root, seen.name, seen.size) == (str(tmp_path), file.name, file.size)


def test_the_store_is_not_asked_about_old_files(tmp_path: Path) -> None:
    lake, clock = Lake(Settings(lake_uri=str(tmp_path))), FakeClock(datetime.now(UTC))
    old = BronzeFile("part-1.parquet", 9, clock.now() - timedelta(hours=2))
    assert by_our_clock(lake, "events", {DAY: [old]}, clock) == {DAY: [old]}
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "pipeline-metadata").write_text("in the way")
    lake, clock = Lake(Settings(lake_uri=str(tmp_path))), FakeClock(datetime.now(UTC))
    with pytest.raises(TransientError, match="store_clock` could not be written"):
        by_our_clock(lake, "events", {DAY: [BronzeFile("a", 9, clock.now())]}, clock)
