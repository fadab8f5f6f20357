"""What is read of partition_meta: the dates that are asked for, however many others it has, and tables of before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from platform_core.errors import TransientError
from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_rows import META_SCHEMA
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 21, 6, 0, 0, 7, UTC)
YEARS = [DAY - timedelta(days=ago) for ago in range(1, 1096)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(Settings(lake_uri=str(tmp_path / "lake")))
    lake.prepare()
    return lake


def row(day: date, status: str = "DONE", domain: str = "events") -> Partition:
    files = (f"bronze/{domain}/{day}/a.parquet", "b'c")
    return Partition(
        domain, day, State(status), "r", 3, files, f"hash of {day}", created_at=AT, updated_at=AT, processed_at=AT
    )


def write(lake: Lake, rows: Sequence[Partition], **changes: Any) -> list[Path]:
    """Append rows in one commit, as every version of the platform did, and return the new files."""
    before = set(Path(lake.uri(lake.partition_meta)).rglob("*.parquet"))
    data = pa.Table.from_pylist([{**asdict(each), **changes} for each in rows], schema=META_SCHEMA)
    write_deltalake(lake.uri(lake.partition_meta), data, mode="append", partition_by=["domain"])
    return sorted(set(Path(lake.uri(lake.partition_meta)).rglob("*.parquet")) - before)


def test_files_of_other_dates_are_not_opened(lake: Lake) -> None:
    others = write(lake, [row(day) for day in YEARS])
    write(lake, [row(DAY, "PENDING")])
    meta = DeltaPartitionMeta(lake)
    opened = meta.snapshot()
    for file in others:
        file.unlink()
    assert opened.get("events", DAY) == row(DAY, "PENDING")
    assert [each.status for each in opened.rows("events", [DAY])] == [State.PENDING]
    [started] = meta.apply([Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="x", set={"run_id": "x"})])
    assert meta.get("events", DAY) == started
    with pytest.raises(TransientError, match=r"partition_meta` could not be read: .*part-"):
        opened.states("events")


def test_of_the_dates_that_nobody_asks_for_three_columns_are_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write(lake, [row(day) for day in [*YEARS, DAY]])
    write(lake, [row(DAY, domain="orders")])
    read, answers = ContendedTable.read, list[tuple[int, int]]()

    def noted(self: ContendedTable, *filters: Any, **options: Any) -> pa.Table:
        table = read(self, *filters, **options)
        answers.append(table.shape)
        return table

    monkeypatch.setattr(ContendedTable, "read", noted)
    snapshot = DeltaPartitionMeta(lake).snapshot()
    assert list(snapshot.states("events")) == [("events", day) for day in sorted([*YEARS, DAY])]
    assert snapshot.rows("events", [DAY, YEARS[500]]) and snapshot.rows("events", []) == []
    assert snapshot.get("events", YEARS[1000]) == row(YEARS[1000])
    assert answers == [(1096, 3), (2, 15), (1, 16)]


def test_a_snapshot_stays_as_it_was(lake: Lake) -> None:
    meta = DeltaPartitionMeta(lake)
    assert meta.snapshot().states() == {} and meta.snapshot().rows() == [] and meta.get("events", DAY) is None
    write(lake, [row(DAY, "PENDING")])
    before = meta.snapshot()
    meta.apply([Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="x", set={"run_id": "x"})])
    assert (before.states(), meta.states()) == ({("events", DAY): State.PENDING}, {("events", DAY): State.IN_FLIGHT})
    assert before.get("events", DAY) == row(DAY, "PENDING") and before.rows()[0].status is State.PENDING


def test_a_table_of_many_small_files_and_rows_by_hand_is_read_changed_and_compacted(lake: Lake) -> None:
    """So the version before left it: no order within a file, up to 200 files, no checkpoint."""
    days = [DAY - timedelta(days=ago) for ago in (3, 1, 2)]
    write(lake, [row(day) for day in days])
    for ago in range(4, 52):
        write(lake, [row(DAY - timedelta(days=ago))])
    write(lake, [row(DAY)], status="done", retry_count=None)
    meta = DeltaPartitionMeta(lake)
    states = meta.states()
    assert list(states) == [("events", DAY - timedelta(days=ago)) for ago in range(51, -1, -1)]
    assert states.pop(("events", DAY)) is State.ILLEGAL and set(states.values()) == {State.DONE}
    [reset] = meta.apply([Change("events", DAY, State.ILLEGAL, Event.RESET)])
    assert (reset.status, meta.get("events", days[0])) == (State.PENDING, row(days[0]))
    assert len(lake.delta(lake.partition_meta).file_uris()) == 1
    assert [each.partition_date for each in meta.rows("events", days)] == sorted(days)
