"""A night of maintenance costs what changed since the last one; once a week everything is looked at."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from maintenance import marks, run
from maintenance.delta_table import TableMaintenance, maintain
from maintenance.marks import Marks
from maintenance.run import maintain_domain
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta

NOW = datetime(2026, 11, 22, 3, 30, tzinfo=UTC)
SILVER, GOLD = "silver/orders", "gold/orders"
OLD, NEW = "2026-01-05", "2026-11-21"
NIGHT = timedelta(days=1)


class Nights:
    """The tables of a domain, and the nights that they live through."""

    def __init__(self, catalog: Catalog, root: Path) -> None:
        self.settings = Settings(lake_uri=str(root), maintenance_keep_days=1)
        self.lake = Lake(self.settings)
        self.domain = catalog["orders"]
        self.clock = FakeClock(NOW)
        self.partitions = InMemoryPartitionMeta(self.clock)

    def write(self, name: str, day: str, *numbers: int, mode: Any = "append") -> None:
        rows = pa.table({"order_date": [date.fromisoformat(day)] * len(numbers), "n": list(numbers)})
        predicate = f"order_date = '{day}'" if mode == "overwrite" else None
        write_deltalake(self.lake.uri(name), rows, mode=mode, partition_by=["order_date"], predicate=predicate)

    def pass_one(self, after: timedelta = NIGHT, *, whole: bool = False) -> dict[str, TableMaintenance]:
        self.clock.advance(seconds=after.total_seconds())
        turn = maintain_domain(self.lake, self.domain, self.partitions, self.settings, whole=whole, clock=self.clock)
        return {each.table: each for each in turn}

    def files(self, name: str, day: str) -> list[Path]:
        return list(Path(self.lake.uri(name)).glob(f"order_date={day}/*"))

    def numbers(self, name: str, version: int | None = None) -> list[int]:
        return sorted(self.lake.delta(name, version).to_pyarrow_table()["n"].to_pylist())


@pytest.fixture
def nights(catalog: Catalog, tmp_path: Path) -> Nights:
    return Nights(catalog, tmp_path)


def age(*paths: Path) -> None:
    then = datetime.now(UTC).timestamp() - 3 * 86_400
    for path in paths:
        os.utime(path, (then, then))


def let_time_pass(table: Path) -> None:
    """Let what was removed from a table have been removed two days earlier."""
    for path in (table / "_delta_log").glob("*checkpoint*"):
        path.unlink()
    for log in (table / "_delta_log").glob("*.json"):
        earlier = re.sub(r'(?<="deletionTimestamp":)\d+', lambda at: str(int(at[0]) - 2 * 86_400_000), log.read_text())
        log.write_text(earlier)


def test_a_table_without_a_new_version_costs_two_looks_at_its_log(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.write(SILVER, OLD, 1)
    nights.write(GOLD, OLD, 2)
    first = nights.pass_one()
    opened: list[str] = []
    asked: list[str] = []
    delta, look = Lake.delta, marks.commit_of

    def opening(lake: Lake, name: str, version: int | None = None) -> DeltaTable:
        opened.append(name)
        return delta(lake, name, version)

    def looking(lake: Lake, name: str, version: int) -> str:
        asked.append(name)
        return look(lake, name, version)

    monkeypatch.setattr(Lake, "delta", opening)
    monkeypatch.setattr(marks, "commit_of", looking)
    assert nights.pass_one() == first
    assert asked == [SILVER, SILVER, GOLD, GOLD]
    assert {SILVER, GOLD}.isdisjoint(opened)
    nights.write(GOLD, NEW, 3)
    nights.pass_one()
    assert GOLD in opened and SILVER not in opened


@pytest.mark.parametrize("written_since", [0, 1, 2])
def test_a_table_that_was_put_back_to_an_earlier_moment_is_looked_at(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_since: int
) -> None:
    nights.write(SILVER, OLD, 1)
    shutil.copytree(nights.lake.uri(SILVER), tmp_path / "backup")
    nights.write(SILVER, OLD, 2)
    nights.pass_one()
    version = nights.lake.delta(SILVER).version()
    shutil.rmtree(nights.lake.uri(SILVER))
    shutil.copytree(tmp_path / "backup", nights.lake.uri(SILVER))
    for number in range(written_since):
        nights.write(SILVER, NEW, number)
    assert nights.lake.delta(SILVER).version() <= version
    assert nights.pass_one()[SILVER].files == 1 + bool(written_since)
    mark = Marks(nights.lake, "orders").get(SILVER)
    assert mark is not None and mark.version == nights.lake.delta(SILVER).version()


def test_a_night_reads_and_lists_no_date_that_nobody_wrote(nights: Nights) -> None:
    nights.write(SILVER, OLD, 1)
    nights.write(SILVER, NEW, 2)
    nights.pass_one()
    left = Path(nights.lake.uri(SILVER), f"order_date={OLD}", "part-00000-left-by-a-killed-writer.parquet")
    for file in [*nights.files(SILVER, OLD), left]:
        file.write_bytes(b"no reader comes here")
    for number in (3, 4):
        nights.write(SILVER, NEW, number)
    done = nights.pass_one()[SILVER]
    assert (done.files_before, done.files, done.removed) == (4, 2, 0)
    assert left.exists(), "it is in no log, and nothing was listed"


def test_once_a_week_everything_is_listed_whether_anybody_wrote_or_not(nights: Nights) -> None:
    nights.write(SILVER, OLD, 1)
    nights.pass_one()
    left = Path(nights.lake.uri(SILVER), f"order_date={OLD}", "part-00000-left-by-a-killed-writer.parquet")
    left.write_bytes(b"never committed")
    age(left)
    for _ in range(6):
        nights.pass_one()
        assert left.exists()
    nights.pass_one(NIGHT - timedelta(minutes=5))
    assert not left.exists() and nights.numbers(SILVER) == [1]


@pytest.mark.parametrize("how", ["asked", "lost", "unreadable", "another table"])
def test_everything_is_listed_when_nothing_is_known_of_the_table(nights: Nights, how: str) -> None:
    nights.write(SILVER, OLD, 1)
    nights.pass_one()
    stored = Path(nights.lake.uri(f"{nights.lake.maintenance}/orders.json"))
    if how == "lost":
        stored.unlink()
    if how == "unreadable":
        stored.write_text("{half")
    if how == "another table":
        stored.write_text(
            stored.read_text().replace('"version":', '"version":-').replace('"table_id":"', '"table_id":"x')
        )
    left = Path(nights.lake.uri(SILVER), f"order_date={OLD}", "part-00000-left-by-a-killed-writer.parquet")
    left.write_bytes(b"never committed")
    age(left)
    nights.pass_one(whole=how == "asked")
    assert not left.exists() and nights.numbers(SILVER) == [1]
    assert Marks(nights.lake, "orders").get(SILVER) is not None
    nights.pass_one()


def test_replaced_files_go_in_a_night_after_their_time_once_and_by_the_log(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.write(SILVER, OLD, 1)
    nights.write(SILVER, NEW, 2)
    nights.pass_one()
    nights.write(SILVER, NEW, 3, mode="overwrite")
    assert nights.pass_one()[SILVER].removed == 0, "its time has not come"
    assert len(nights.files(SILVER, NEW)) == 2
    modes: list[bool] = []
    vacuum = DeltaTable.vacuum

    def noted(table: DeltaTable, *arguments: Any, **options: Any) -> list[str]:
        modes.append(options["full"])
        return vacuum(table, *arguments, **options)

    monkeypatch.setattr(DeltaTable, "vacuum", noted)
    let_time_pass(Path(nights.lake.uri(SILVER)))
    nights.write(SILVER, OLD, 4)
    assert nights.pass_one()[SILVER].removed == 1
    assert len(nights.files(SILVER, NEW)) == 1 and nights.numbers(SILVER) == [1, 3, 4]
    nights.write(SILVER, OLD, 5)
    assert nights.pass_one()[SILVER].removed == 0, "the log has forgotten what is gone"
    assert modes and not any(modes)


def test_a_version_that_a_correction_waits_for_is_kept_by_every_night(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        nights.write(GOLD, NEW, number, mode="overwrite" if number > 1 else "append")
    held = {"orders": {0}}
    monkeypatch.setattr(run, "held_versions", lambda *_: held)
    nights.pass_one()
    let_time_pass(Path(nights.lake.uri(GOLD)))
    nights.write(GOLD, NEW, 3)
    done = nights.pass_one()[GOLD]
    assert (done.removed, done.held, nights.numbers(GOLD, 0)) == (0, (0,), [1])
    held.clear()
    age(*nights.files(GOLD, NEW))
    nights.pass_one(timedelta(days=8))
    assert nights.numbers(GOLD) == [2, 3] and len(nights.files(GOLD, NEW)) < 4


def test_a_turn_that_is_killed_is_made_again(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    nights.write(SILVER, NEW, 1)
    nights.pass_one()
    for number in (2, 3):
        nights.write(SILVER, NEW, number)

    def killed(_: DeltaTable) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            nights.pass_one()
    version = nights.lake.delta(SILVER).version()
    assert nights.pass_one()[SILVER].files == 1 and nights.numbers(SILVER) == [1, 2, 3]
    checkpoints = Path(nights.lake.uri(SILVER), "_delta_log").glob("*.checkpoint.parquet")
    assert any(int(path.name.split(".")[0]) >= version for path in checkpoints)


def test_other_columns_of_order_are_a_change(nights: Nights) -> None:
    nights.write(SILVER, OLD, 1)
    nights.pass_one()
    silver = nights.domain.silver.model_copy(update={"z_order_by": ("n",)})
    nights.domain = nights.domain.model_copy(update={"silver": silver})
    version = nights.lake.delta(SILVER).version()
    nights.pass_one()
    assert nights.lake.delta(SILVER).version() > version, "what was ordered is noted in the table"
    version = nights.lake.delta(SILVER).version()
    nights.pass_one()
    assert nights.lake.delta(SILVER).version() == version


def test_a_ledger_is_not_merged_as_a_whole_each_night(tmp_path: Path) -> None:
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    chance = Random(0)
    large = [chance.randbytes(48).hex() for _ in range(100_000)]
    write_deltalake(lake.uri("ledger"), pa.table({"text": large}))
    [first] = lake.delta("ledger").file_uris()
    for number in range(3):
        write_deltalake(lake.uri("ledger"), pa.table({"text": [str(number)]}), mode="append")
    done = maintain(lake, "ledger", timedelta(days=1), whole=False)
    assert (done.files_before, done.files) == (4, 2)
    assert first in lake.delta("ledger").file_uris(), "what is large enough stays as it is"
