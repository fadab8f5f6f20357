"""Small Bronze files are read as one copy, with exactly their rows; nothing is left of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs.reading import working_copy
from spark_jobs.reading.bronze import BronzeSize, bronze_size
from spark_jobs.reading.working_copy import in_few_files
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def users() -> Domain:
    return load_catalog(Settings().domains_file)["users"]


def rows_of(lake: Lake, name: str) -> list[dict[str, object]]:
    rows = pq.read_table(lake.path(name), partitioning=None).to_pylist()
    return sorted(rows, key=lambda row: (row["_partition"], row["_offset"], row["_ingested_at"]))


def copies(lake: Lake) -> list[str]:
    return [path.name for path in Path(lake.path(lake.working_copies)).iterdir()]


def test_a_copy_has_the_rows_of_all_files_while_it_is_read(
    lake: Lake, users: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_copy, "_GROUP_ROWS", 4)
    records = bronze_days.users()
    names = bronze_days.write(lake, users, DAY, records, files=3)
    names += bronze_days.write(lake, users, DAY, records, files=2, seed=1, without=["deleted_at"])
    with in_few_files(lake, users, DAY, names, bronze_size(lake, users, DAY, names)) as few:
        [copy] = few
        expected = [{"deleted_at": None, **row} for name in names for row in rows_of(lake, name)]
        assert rows_of(lake, copy) == sorted(
            expected, key=lambda row: (row["_partition"], row["_offset"], row["_ingested_at"])
        )
        assert pq.read_metadata(lake.path(copy)).num_row_groups > 1
    assert copies(lake) == []
    assert all(Path(lake.path(name)).exists() for name in names)


def test_what_a_killed_job_of_the_date_has_left_is_removed(lake: Lake, users: Domain) -> None:
    names = bronze_days.write(lake, users, DAY, bronze_days.users())
    folder = Path(lake.path(lake.working_copies))
    folder.mkdir(parents=True)
    of_another_date = "users-2026-11-19-0.parquet"
    for name in (f"users-{DAY}-0.parquet", of_another_date):
        (folder / name).touch()
    with pytest.raises(ZeroDivisionError), in_few_files(lake, users, DAY, names, BronzeSize(11, 1)):
        assert len(copies(lake)) == 2
        raise ZeroDivisionError
    assert copies(lake) == [of_another_date]


@pytest.mark.parametrize("size", [BronzeSize(6_001, 1), BronzeSize(11, (1 << 30) + 1)], ids=["rows", "bytes"])
def test_large_files_and_large_dates_are_read_as_they_are(lake: Lake, users: Domain, size: BronzeSize) -> None:
    names = bronze_days.write(lake, users, DAY, bronze_days.users())
    left = Path(lake.path(lake.working_copies)) / f"users-{DAY}-0.parquet"
    left.parent.mkdir(parents=True)
    left.touch()
    with in_few_files(lake, users, DAY, names, size) as few:
        assert list(few) == sorted(names)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["other type", "gone"])
def test_the_engine_gets_the_files_themselves_where_one_cannot_be_copied(
    lake: Lake, users: Domain, damage: str
) -> None:
    names = bronze_days.write(lake, users, DAY, bronze_days.users())
    path = Path(lake.path(names[1]))
    if damage == "gone":
        path.unlink()
    else:
        rows = pq.read_table(path, partitioning=None)
        texts = pa.array(["x"] * rows.num_rows)
        pq.write_table(rows.set_column(rows.schema.get_field_index("user_id"), "user_id", texts), path)
    with in_few_files(lake, users, DAY, names, BronzeSize(11, 1)) as few:
        assert list(few) == sorted(names)
    assert copies(lake) == []
