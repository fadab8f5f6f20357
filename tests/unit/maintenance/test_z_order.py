"""Large dates in Z-order, on a real Delta table: a reader opens fewer files, no row changes, no turn is made twice."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from maintenance.z_order import arrange

ROWS = 20_000
FILE_BYTES = 60_000
LOW = 30_000
COLUMNS = ("customer", "shop")
FIRST, SECOND, SMALL = "2026-11-20", "2026-11-21", "2026-11-22"


def write(root: Path, day: str, rows: int = ROWS, mode: str = "append") -> None:
    chance = Random(day)
    values = {name: [chance.randrange(1_000_000) for _ in range(rows)] for name in COLUMNS}
    table = pa.table({"day": [day] * rows, "n": list(range(rows)), **values})
    predicate = f"day = '{day}'" if mode == "overwrite" else None
    write_deltalake(root, table, mode=mode, partition_by=["day"], predicate=predicate)  # type: ignore[call-overload]


def files_with(root: Path, column: str, value: int, day: str) -> list[str]:
    """Return the files that a reader opens for a value, by their statistics."""
    files = pa.table(DeltaTable(root).get_add_actions(flatten=True)).to_pylist()
    of_day = [file for file in files if file["partition.day"] == day]
    return [file["path"] for file in of_day if file[f"min.{column}"] <= value <= file[f"max.{column}"]]


def paths(root: Path, day: str) -> set[str]:
    return set(DeltaTable(root).file_uris(file_pruning_predicate=[("day", "=", day)]))


def rows_of(root: Path) -> list[dict[str, object]]:
    return DeltaTable(root).to_pyarrow_table().sort_by([("day", "ascending"), ("n", "ascending")]).to_pylist()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in range(3):
        write(tmp_path, SMALL, part + 1)
    write(tmp_path, FIRST)
    write(tmp_path, SECOND)
    return tmp_path


def test_a_reader_of_one_value_passes_over_files_of_a_large_date(root: Path) -> None:
    before = rows_of(root)
    arrange(DeltaTable(root), COLUMNS, FILE_BYTES)
    assert rows_of(root) == before
    assert len(paths(root, SMALL)) == 1, "a date of one file's worth is only compacted"
    for day in (FIRST, SECOND):
        files = len(paths(root, day))
        assert files >= 4
        for column in COLUMNS:
            for value in (LOW, 1_000_000 - LOW):
                assert len(files_with(root, column, value, day)) <= files * 3 / 4, (column, value)


def test_what_was_ordered_is_left_alone_until_it_is_written_again(root: Path) -> None:
    arrange(DeltaTable(root), COLUMNS, FILE_BYTES)
    version, first, second = DeltaTable(root).version(), paths(root, FIRST), paths(root, SECOND)
    arrange(DeltaTable(root), COLUMNS, FILE_BYTES)
    assert DeltaTable(root).version() == version
    write(root, SECOND, mode="overwrite")
    assert len(files_with(root, "customer", LOW, SECOND)) == len(paths(root, SECOND))
    arrange(DeltaTable(root), COLUMNS, FILE_BYTES)
    assert paths(root, FIRST) == first
    assert not paths(root, SECOND) & second
    assert len(files_with(root, "customer", LOW, SECOND)) < len(paths(root, SECOND))


def test_other_columns_order_every_date_again(root: Path) -> None:
    arrange(DeltaTable(root), COLUMNS, FILE_BYTES)
    first = paths(root, FIRST)
    arrange(DeltaTable(root), ("shop",), FILE_BYTES)
    assert not paths(root, FIRST) & first
    assert len(files_with(root, "shop", LOW, FIRST)) == 1
