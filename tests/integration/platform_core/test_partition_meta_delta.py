"""partition_meta on Delta: the compare-and-set under real concurrency, and what operators do by SQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from platform_core.lake import contended_table
from platform_core.lake.lake import Lake
from platform_core.partitions import partition_meta_delta
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_rows import META_SCHEMA
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, Settings

DAY = date(2026, 11, 20)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def meta(lake: Lake) -> DeltaPartitionMeta:
    lake.prepare()
    return DeltaPartitionMeta(lake)


def found(day: date, domain: str = "events") -> Change:
    return Change(domain, day, State.UNDISCOVERED, Event.FILES_FOUND, set={"source_files": ("a", "b'c")})


def test_the_table_has_the_sixteen_columns(meta: DeltaPartitionMeta, lake: Lake) -> None:
    meta.apply([found(DAY)])
    names = pa.schema(lake.delta(lake.partition_meta).schema().to_arrow()).names
    assert names == META_SCHEMA.names
    assert len(names) == 16


def test_a_row_comes_back_as_it_was_written(meta: DeltaPartitionMeta) -> None:
    [written] = meta.apply([found(DAY)])
    read = meta.get("events", DAY)
    assert read == written
    assert read is not None
    assert read.source_files == ("a", "b'c")


def test_of_many_threads_one_wins(meta: DeltaPartitionMeta, lake: Lake) -> None:
    meta.apply([found(DAY)])
    outcomes: list[str] = []

    def claim(run: str) -> None:
        change = Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id=run, set={"run_id": run})
        try:
            DeltaPartitionMeta(lake).apply([change])
            outcomes.append(run)
        except StateConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=claim, args=(f"run-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = meta.get("events", DAY)
    assert row is not None
    assert sorted(outcomes) == sorted(["refused"] * 5 + [str(row.run_id)])


def test_of_two_processes_one_discovers_each_date(meta: DeltaPartitionMeta, lake: Lake) -> None:
    program = f"""
import sys
from datetime import date, timedelta
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings
meta = DeltaPartitionMeta(Lake(Settings(lake_uri={lake.root!r})))
won = 0
for n in range(15):
    day = date(2026, 1, 1) + timedelta(days=n)
    try:
        meta.apply([Change("events", day, State.UNDISCOVERED, Event.FILES_FOUND)])
        won += 1
    except StateConflictError:
        pass
print(won)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    won = [int(process.communicate(timeout=120)[0]) for process in running]
    assert sum(won) == 15
    rows = meta.rows("events")
    assert [row.partition_date for row in rows] == [date(2026, 1, 1) + timedelta(days=n) for n in range(15)]
    assert len(meta.history("events")) == 15


def test_a_commit_whose_reply_was_lost_stands_and_has_one_line(
    meta: DeltaPartitionMeta, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge, append, replies = meta._merge, write_deltalake, iter([True, True])

    def then_lost(stored: Any) -> Any:
        if next(replies, False):
            raise OSError("the connection broke after the commit")
        return stored

    monkeypatch.setattr(meta, "_merge", lambda *arguments: then_lost(merge(*arguments)))
    monkeypatch.setattr(
        partition_meta_delta, "write_deltalake", lambda *args, **options: then_lost(append(*args, **options))
    )
    [row] = meta.apply([found(DAY)])
    assert meta.get("events", DAY) == row
    assert next(replies, None) is None, "both replies were lost"
    assert lake.delta(lake.partition_history).to_pyarrow_table().num_rows == 1


def test_a_history_line_that_the_store_did_not_take_comes_with_the_next_change(
    meta: DeltaPartitionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(partition_meta_delta, "ATTEMPTS", 1)
        patched.setattr(partition_meta_delta, "write_deltalake", lambda *_, **__: _refuse())
        meta.apply([found(DAY)])
    assert meta.history("events", DAY) == []
    start = Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="r", set={"run_id": "r"})
    meta.apply([start])
    meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.RENEWED, run_id="r")])
    assert [t.event for t in meta.history("events", DAY)] == ["files_found", "run_started"]


def _refuse() -> None:
    raise OSError("the store is out")


def test_an_operator_changes_the_state_by_sql(meta: DeltaPartitionMeta, lake: Lake) -> None:
    meta.apply([found(DAY), found(DAY + timedelta(days=1))])
    table = lake.delta(lake.partition_meta)
    table.update({"status": "'DEAD'", "retry_count": "3"}, predicate=f"domain = 'events' and partition_date = '{DAY}'")
    row, other = meta.rows("events")
    assert (row.status, row.retry_count) == (State.DEAD, 3)
    table = lake.delta(lake.partition_meta)
    table.update({"status": "'done'"}, predicate=f"partition_date = '{DAY}'")
    row, untouched = meta.rows("events")
    assert row.status is State.ILLEGAL
    assert "Its status is `done`; legal are PENDING, IN_FLIGHT" in str(row.error_message)
    assert untouched == other, "it concerns only its row"
    [reset] = meta.apply([Change("events", DAY, State.ILLEGAL, Event.RESET)])
    assert reset.status is State.PENDING


def test_another_engine_reads_the_table(meta: DeltaPartitionMeta, lake: Lake) -> None:
    meta.apply([found(DAY), found(DAY, "orders")])
    arrow = lake.delta(lake.partition_meta).to_pyarrow_table()  # noqa: F841 - DuckDB reads it by name
    assert duckdb.sql("select domain, status from arrow order by 1").fetchall() == [
        ("events", "PENDING"),
        ("orders", "PENDING"),
    ]


def test_old_files_are_compacted_and_removed(
    meta: DeltaPartitionMeta, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contended_table, "COMPACT_EVERY_COMMITS", 10)
    monkeypatch.setattr(contended_table, "KEEP_FILES_HOURS", 0)
    days = [DAY + timedelta(days=n) for n in range(25)]
    for day in days:
        meta.apply([found(day)])
    files = list(Path(lake.path(lake.partition_meta)).rglob("*.parquet"))
    data = [file for file in files if "_delta_log" not in file.parts]
    assert len(data) < 12
    assert [row.partition_date for row in meta.rows("events")] == days
    assert len(meta.history("events")) == 25
