"""A table's log is read each time it is opened: few rows are written by one opening, whatever the table was before."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs.writing.gold_merge import merge_partition
from spark_jobs.writing.tables import replace_small_partition

DAY = date(2026, 11, 20)
NOT_ASKED = cast(Any, None)
"""The engine: few rows need none."""


class CountingLake(Lake):
    """A lake that counts how often a table is opened."""

    opened = 0

    def delta(self, name: str, version: int | None = None) -> DeltaTable:
        self.opened += 1
        return super().delta(name, version)


@pytest.fixture
def lake(tmp_path: Path) -> CountingLake:
    return CountingLake(Settings(lake_uri=str(tmp_path / "lake")))


def rows_of(**columns: list[Any]) -> pa.Table:
    return pa.table({"day": [DAY], "city": ["a"], **columns})


@pytest.mark.parametrize("columns", [{}, {"visits": [1]}], ids=["the same columns", "another column"])
def test_few_rows_are_written_by_one_opening(lake: CountingLake, columns: dict[str, list[Any]]) -> None:
    def merge(rows: pa.Table) -> None:
        merge_partition(NOT_ASKED, rows, lake, "gold/some", ("day", "city"), DAY)

    def replace(rows: pa.Table) -> None:
        replace_small_partition(rows, lake, "silver/some", "day", DAY)

    for write, name in ((merge, "gold/some"), (replace, "silver/some")):
        write(rows_of())  # makes the table
        lake.opened = 0
        write(rows_of(**columns))
        assert lake.opened == (2 if columns else 1)
        written = lake.delta(name).to_pyarrow_table().select(["day", "city", *columns])
        assert written.to_pylist() == rows_of(**columns).to_pylist()
