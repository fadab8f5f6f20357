"""Rows of a Delta table are read by the lake's own file system, whoever reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from deltalake import write_deltalake

from audit.duckdb_tables import DeltaDate, load_delta
from platform_core.errors import TransientError
from platform_core.lake.delta_rows import read_date, rows_of
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY
from tests.rigs.settings_of import settings_of

DAYS = [date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 26)]
HOME = {"platform_core/lake/delta_rows.py"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path / "a lake in München")}))
    write_deltalake(lake.uri("silver/t"), pa.table({"day": DAYS, "n": [1, 2, 3]}), partition_by=["day"])
    return lake


def test_nobody_opens_a_dataset_of_a_table_otherwise() -> None:
    rooms = {path.parent for path in REPOSITORY.glob("*/__init__.py")} - {
        REPOSITORY / "tests",
        REPOSITORY / "benchmarks",
    }
    found = {
        str(path.relative_to(REPOSITORY))
        for room in rooms
        for path in room.rglob("*.py")
        if ".to_pyarrow_" in path.read_text(encoding="utf-8").replace("`DeltaTable.to_pyarrow_", "")
    }
    assert found == HOME


def test_the_files_are_opened_by_the_file_system_of_the_lake(lake: Lake) -> None:
    rows = rows_of(lake, lake.delta("silver/t"))
    assert type(rows.filesystem.base_fs) is pafs.LocalFileSystem
    assert sorted(rows.to_table()["n"].to_pylist()) == [1, 2, 3]


def test_files_of_other_dates_are_left_out(lake: Lake) -> None:
    table = lake.delta("silver/t")
    assert read_date(lake, table, "day", DAYS[1], ["n"]).to_pylist() == [{"n": 2}]
    within = rows_of(lake, table, ("day", ">=", DAYS[1]), ("day", "<=", DAYS[2]))
    assert sorted(within.to_table()["n"].to_pylist()) == [2, 3]


def test_a_directory_name_that_delta_encodes_is_found(lake: Lake) -> None:
    # Spark and delta-rs write the value of such a folder encoded, and the log encodes that once more.
    rows = pa.table({"k": ["a b", "ü/ö", "x%20y", None], "n": [1, 2, 3, 4]})
    write_deltalake(lake.uri("silver/odd"), rows, partition_by=["k"])
    read = rows_of(lake, lake.delta("silver/odd")).to_table(["k", "n"])
    assert read.sort_by("n").equals(rows)


def _loaded(lake: Lake) -> None:
    with database() as connection:
        load_delta(connection, "t", lake, lake.delta("silver/t"), "day", DAYS[1], {"n": pa.int64()})


def _asked(lake: Lake) -> None:
    DeltaDate(lake, "silver/t", "day", DAYS[1]).query("sum(n)")


@pytest.mark.parametrize("read", [_loaded, _asked])
def test_a_file_that_is_gone_is_no_value_that_cannot_be_compared(lake: Lake, read: Callable[[Lake], None]) -> None:
    table = lake.delta("silver/t")
    for file in rows_of(lake, table, ("day", "=", DAYS[1])).files:
        Path(lake.path(f"silver/t/{file}")).unlink()
    with pytest.raises(FileNotFoundError):
        read_date(lake, table, "day", DAYS[1])
    with pytest.raises(TransientError, match=r"silver/t/?` could not be read: .*Run the audit again"):
        read(lake)
