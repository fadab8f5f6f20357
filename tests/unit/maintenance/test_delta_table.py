"""Maintenance of one table on a real Delta table: rows stay, files and versions go, what is held stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.table import TableOptimizer

from maintenance.delta_table import maintain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

TABLE = "silver/thing"
NOW = timedelta(0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path)))


def write(lake: Lake, day: str, *numbers: int, mode: Any = "append") -> None:
    rows = pa.table({"day": [day] * len(numbers), "n": list(numbers)})
    predicate = f"day = '{day}'" if mode == "overwrite" else None
    write_deltalake(lake.uri(TABLE), rows, mode=mode, partition_by=["day"], predicate=predicate)


def numbers(lake: Lake, version: int | None = None) -> list[int]:
    return sorted(lake.delta(TABLE, version).to_pyarrow_table()["n"].to_pylist())


def files_on_disk(lake: Lake) -> set[str]:
    return {path.name for path in Path(lake.uri(TABLE)).glob("day=*/*.parquet")}


def test_small_files_of_a_date_become_one_and_no_row_changes(lake: Lake) -> None:
    for number in range(5):
        write(lake, "2026-11-20", number)
    write(lake, "2026-11-21", 9)
    done = maintain(lake, TABLE, NOW)
    assert (done.files_before, done.files) == (6, 2)
    assert done.bytes == sum(path.stat().st_size for path in Path(lake.uri(TABLE)).glob("day=*/*.parquet"))
    assert numbers(lake) == [0, 1, 2, 3, 4, 9]
    assert list(Path(lake.uri(TABLE), "_delta_log").glob("*.checkpoint.parquet"))


def test_a_turn_that_finds_nothing_to_do_leaves_no_commit(lake: Lake) -> None:
    write(lake, "2026-11-20", 1)
    maintain(lake, TABLE, NOW)
    version = lake.delta(TABLE).version()
    assert maintain(lake, TABLE, NOW).removed == 0
    assert lake.delta(TABLE).version() == version


def test_replaced_files_go_after_their_time_and_not_before(lake: Lake) -> None:
    write(lake, "2026-11-20", 1)
    write(lake, "2026-11-20", 2, mode="overwrite")
    assert maintain(lake, TABLE, timedelta(days=7)).removed == 0
    assert numbers(lake, 0) == [1]
    assert maintain(lake, TABLE, NOW).removed == 1
    assert len(files_on_disk(lake)) == 1 and numbers(lake) == [2]


def test_a_held_version_can_be_read_however_old_it_is(lake: Lake) -> None:
    for number in range(4):
        write(lake, "2026-11-20", number, mode="overwrite")
    done = maintain(lake, TABLE, NOW, held={1})
    assert (done.removed, done.held) == (2, (1,))
    assert numbers(lake, 1) == [1] and numbers(lake) == [3]
    with pytest.raises((DeltaError, OSError)):
        numbers(lake, 0)


def test_the_log_is_not_shortened_by_a_writer_while_a_version_is_held(lake: Lake) -> None:
    write(lake, "2026-11-20", 0)
    maintain(lake, TABLE, NOW, held={0})
    configuration = lake.delta(TABLE).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


def test_what_a_killed_writer_left_is_removed(lake: Lake) -> None:
    write(lake, "2026-11-20", 1)
    orphan = Path(lake.uri(TABLE), "day=2026-11-20", "part-00000-orphan.parquet")
    orphan.write_bytes(b"never committed")
    maintain(lake, TABLE, NOW)
    assert not orphan.exists() and numbers(lake) == [1]


def test_a_compaction_that_another_writer_beats_is_left_for_the_next_turn(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(lake, "2026-11-20", 1)
    write(lake, "2026-11-20", 2)

    def beaten(*_: object, **__: object) -> None:
        raise CommitFailedError("a file was replaced meanwhile")

    with monkeypatch.context() as patch:
        patch.setattr(TableOptimizer, "compact", beaten)
        assert maintain(lake, TABLE, NOW).files == 2
    assert maintain(lake, TABLE, NOW).files == 1
    assert numbers(lake) == [1, 2]
