"""Few rows reach a table as it was opened, or not at all: a process that slept must not write behind others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs.writing.few_row_changes import RowChanges, apply_to_few, merge_into_many, row_changes

DAY = date(2026, 11, 20)
OTHER = date(2026, 11, 19)

Write = Callable[[RowChanges, Lake, DeltaTable, str, date], None]


def rows(**amounts: int) -> pa.Table:
    return pa.table({"key": list(amounts), "amount": pa.array(amounts.values(), pa.int64())})


def dated(some: pa.Table, day: date) -> pa.Table:
    return some.append_column("day", pa.array([day] * some.num_rows, pa.date32()))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    for day in (DAY, OTHER):
        write_deltalake(lake.uri("table"), dated(rows(a=1, b=2, c=3), day), partition_by=["day"], mode="append")
    return lake


def stored(lake: Lake) -> list[dict[str, Any]]:
    found = DeltaTable(lake.uri("table")).to_pyarrow_table().to_pylist()
    return sorted(found, key=lambda row: (row["day"], row["key"]))


def expected(**amounts: int) -> list[dict[str, Any]]:
    return [*dated(rows(a=1, b=2, c=3), OTHER).to_pylist(), *dated(rows(**amounts), DAY).to_pylist()]


CHANGES = [
    (rows(), rows(d=4), {"a": 1, "b": 2, "c": 3, "d": 4}),
    (rows(a=1, b=2), rows(a=7, d=4), {"a": 7, "c": 3, "d": 4}),
]


@pytest.mark.parametrize("write", [apply_to_few, merge_into_many])
@pytest.mark.parametrize(("before", "after", "wanted"), CHANGES, ids=["added", "replaced and gone"])
def test_the_date_has_the_change_and_no_other_date(
    lake: Lake, write: Write, before: pa.Table, after: pa.Table, wanted: dict[str, int]
) -> None:
    write(row_changes(before, after, ["key"]), lake, lake.delta("table"), "day", DAY)
    assert stored(lake) == expected(**wanted)


@pytest.mark.parametrize("write", [apply_to_few, merge_into_many])
@pytest.mark.parametrize(("before", "after", "wanted"), CHANGES, ids=["added", "replaced and gone"])
def test_a_process_that_slept_writes_nothing_behind_the_next_run(
    lake: Lake, write: Write, before: pa.Table, after: pa.Table, wanted: dict[str, int]
) -> None:
    opened = lake.delta("table")
    write_deltalake(
        lake.uri("table"), dated(rows(**wanted), DAY), mode="overwrite", predicate=f"day = '{DAY.isoformat()}'"
    )
    with pytest.raises(CommitFailedError):
        write(row_changes(before, after, ["key"]), lake, opened, "day", DAY)
    assert stored(lake) == expected(**wanted)
