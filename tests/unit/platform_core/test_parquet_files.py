"""Many files are read side by side, in their order, and the first that fails says so."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_core.lake import parquet_files
from platform_core.lake.lake import Lake
from platform_core.lake.parquet_files import FILES_AT_ONCE, of_each, opened
from platform_core.settings import Settings

PATIENCE_SECONDS = 30


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path)))


@pytest.mark.parametrize("number", [0, 1, 7, 1_000])
def test_what_is_read_comes_in_the_order_of_the_files(lake: Lake, number: int) -> None:
    names = [str(each) for each in range(number)]
    assert list(of_each(lake, names, int)) == list(range(number))


def test_the_first_file_that_cannot_be_read_is_raised(lake: Lake) -> None:
    names = [str(each) for each in range(500)]
    names[40], names[300] = "fortieth", "last"
    with pytest.raises(ValueError, match="fortieth"):
        list(of_each(lake, names, int))


def test_a_store_is_asked_for_few_files_at_once(lake: Lake) -> None:
    """No thread takes two while another has none."""
    lake.is_local = False
    all_at_once = threading.Barrier(FILES_AT_ONCE)
    names = [str(each) for each in range(FILES_AT_ONCE)]
    assert list(of_each(lake, names, lambda name: all_at_once.wait(PATIENCE_SECONDS) >= 0 and name)) == names


@pytest.mark.parametrize("small_bytes", [0, 1 << 20], ids=["large", "small"])
def test_a_file_has_its_rows_however_it_is_read(lake: Lake, monkeypatch: pytest.MonkeyPatch, small_bytes: int) -> None:
    monkeypatch.setattr(parquet_files, "SMALL_FILE_BYTES", small_bytes)
    rows = pa.table({"a": range(1_000), "b": ["x"] * 1_000})
    pq.write_table(rows, lake.path("some.parquet"))
    with opened(lake, "some.parquet") as file:
        assert file.read() == rows
        footer = file.metadata
    with opened(lake, "some.parquet", footer) as file:
        assert file.read(["b"]) == rows.select(["b"])
