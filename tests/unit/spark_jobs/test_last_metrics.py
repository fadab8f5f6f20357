"""What a table says of itself, asked without what holds the interpreter's lock while it waits for a store."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs.writing.tables import exists, last_metrics


def test_they_are_those_of_the_newest_commit_as_its_history_has_them(tmp_path, monkeypatch):
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    for rows in (3, 5):
        write_deltalake(lake.uri("silver/orders"), pa.table({"key": list(range(rows))}), mode="append")
    [newest] = lake.delta("silver/orders").history(1)
    # It holds the interpreter's lock while it waits for a store, and the lease of the date is not renewed meanwhile.
    monkeypatch.delattr(DeltaTable, "history")
    assert last_metrics(lake, "silver/orders")["num_added_rows"] == newest["operationMetrics"]["num_added_rows"] == 5


def test_whether_it_exists_is_not_asked_of_delta_rs(tmp_path, monkeypatch):
    monkeypatch.delattr(DeltaTable, "is_deltatable")
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    assert not exists(lake, "silver/orders")
    write_deltalake(lake.uri("silver/orders"), pa.table({"key": [1]}))
    assert exists(lake, "silver/orders")
