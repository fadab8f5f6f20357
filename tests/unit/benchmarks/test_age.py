"""A table that was aged reads as one that runs have filled, a date a commit."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.history.age import age


def test_an_aged_table_has_the_dates_and_still_takes_commits(tmp_path: Path) -> None:
    rows = pa.table({"day": ["2026-11-20", "2026-11-20"], "n": [1, 2]})
    write_deltalake(tmp_path, rows, partition_by=["day"])
    age(tmp_path, "day", 120)
    table = DeltaTable(tmp_path)
    assert table.version() == 120
    assert list((tmp_path / "_delta_log").glob("*.checkpoint.parquet"))
    write_deltalake(table, rows.slice(1), mode="append")
    read = DeltaTable(tmp_path).to_pyarrow_table()
    assert len(set(read["day"].to_pylist())) == 121
    assert sum(read["n"].to_pylist()) == 3 * 121 + 2
