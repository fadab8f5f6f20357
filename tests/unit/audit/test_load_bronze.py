"""The audit's own reading of Bronze: the same rows of small and of large files, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit import duckdb_tables
from audit.duckdb_tables import load_bronze
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.errors import TransientError
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import BronzeFile, Lake
from platform_core.settings import Settings
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY

COLUMNS = ("user_id", "deleted_at")
ALL_AT_ONCE, ONE_BY_ONE = 1 << 20, 1


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def users() -> Domain:
    return load_catalog(Settings().domains_file)["users"]


@pytest.fixture(params=[(1 << 20, ALL_AT_ONCE), (1 << 20, ONE_BY_ONE), (0, ALL_AT_ONCE)], ids=["one", "many", "large"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files as small ones, in one group or in many, or as large ones."""
    small_bytes, group_bytes = request.param
    monkeypatch.setattr(duckdb_tables, "SMALL_FILE_BYTES", small_bytes)
    monkeypatch.setattr(duckdb_tables, "_GROUP_BYTES", group_bytes)


def written(lake: Lake, users: Domain) -> list[BronzeFile]:
    """Write files of which some lack a column, and list them."""
    records = bronze_days.users()
    bronze_days.write(lake, users, DAY, records, files=3)
    bronze_days.write(lake, users, DAY, records, files=2, seed=1, without=["deleted_at"])
    return lake.list_date(users, DAY)


def loaded(lake: Lake, users: Domain, files: Sequence[BronzeFile]) -> tuple[list[Any], dict[str, str]]:
    with database() as connection:
        unreadable = load_bronze(connection, "bronze", lake, users, files, COLUMNS)
        return connection.sql("from bronze order by all").to_arrow_table().to_pylist(), unreadable


def expected(lake: Lake, files: Sequence[BronzeFile]) -> list[Any]:
    names = ("_topic", "_partition", "_offset", *COLUMNS)
    rows = [
        {name: row.get(name) for name in names}
        for file in files
        for row in pq.read_table(lake.path(file.name), partitioning=None).to_pylist()
    ]
    return sorted(rows, key=lambda row: (row["_partition"], row["_offset"], row["deleted_at"] is None))


@pytest.mark.usefixtures("way")
def test_every_row_of_every_file_is_loaded_and_what_a_file_lacks_is_null(lake: Lake, users: Domain) -> None:
    files = written(lake, users)
    rows, unreadable = loaded(lake, users, files)
    assert sorted(rows, key=lambda row: (row["_partition"], row["_offset"], row["deleted_at"] is None)) == expected(
        lake, files
    )
    assert unreadable == {}


@pytest.mark.usefixtures("way")
def test_no_file_is_an_empty_table(lake: Lake, users: Domain) -> None:
    assert loaded(lake, users, []) == ([], {})


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("damage", ["a page", "the footer", "another type", "no offsets"])
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_loaded(lake: Lake, users: Domain, damage: str) -> None:
    files = written(lake, users)
    path = Path(lake.path(files[1].name))
    if damage == "a page":
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)
    elif damage == "the footer":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        rows = pq.read_table(path, partitioning=None)
        column, values = ("user_id", pa.array(["x"] * rows.num_rows))
        if damage == "no offsets":
            column, values = "_offset", pa.nulls(rows.num_rows, pa.int64())
        pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, values), path)
    rows, unreadable = loaded(lake, users, lake.list_date(users, DAY))
    assert list(unreadable) == [files[1].name]
    assert len(rows) == len(expected(lake, [file for file in files if file != files[1]]))


def test_a_store_that_does_not_answer_makes_no_file_unreadable(lake: Lake, users: Domain) -> None:
    files = written(lake, users)

    class Away:
        def open_input_file(self, _path: str) -> None:
            raise OSError("AWS Error NETWORK_CONNECTION during HeadObject operation")

    lake.__dict__["filesystem"] = Away()
    with pytest.raises(TransientError, match="NETWORK_CONNECTION"):
        loaded(lake, users, files)
