"""`pdp maintain`, on tables as the runs write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from typer.testing import Result

from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State

AT = datetime(2026, 11, 20, tzinfo=UTC)
Run = Callable[..., Result]


def write(lake: Lake, table: str, *numbers: int) -> None:
    for number in numbers:
        rows = pa.table({"order_date": ["2026-11-20"], "n": [number]})
        write_deltalake(lake.uri(table), rows, mode="append", partition_by=["order_date"])


def test_the_tables_of_a_domain_are_maintained_and_shown(
    lake: Lake, pdp: Run, pdp_json: Callable[..., Any], put: Callable[..., None]
) -> None:
    assert "No table has been written" in pdp("maintain", "orders").stderr
    put("orders", "2026-11-20", State.DONE)
    write(lake, "silver/orders", 1, 2, 3)
    write(lake, "gold/orders", 1)
    silver, gold = pdp_json("maintain", "orders")["tables"]
    assert (silver["table"], silver["files_before"], silver["files"]) == ("silver/orders", 3, 1)
    assert (gold["table"], gold["files_before"], gold["files"]) == ("gold/orders", 1, 1)
    assert sorted(lake.delta("silver/orders").to_pyarrow_table()["n"].to_pylist()) == [1, 2, 3]


def test_without_a_domain_the_ledgers_are_maintained_too(lake: Lake, pdp_json: Callable[..., Any]) -> None:
    write(lake, "silver/orders", 1)
    AlertLog(lake).new([Alert("k", AlertKind.RUN_FAILED, "orders", None, "it failed", "orders", "pdp alerts", AT)])
    tables = [table["table"] for table in pdp_json("maintain")["tables"]]
    assert tables == ["silver/orders", lake.alerts]
    assert len(AlertLog(lake).read()) == 1


def test_a_domain_at_work_is_left_alone(lake: Lake, pdp: Run, put: Callable[..., None]) -> None:
    put("orders", "2026-11-20", State.IN_FLIGHT)
    write(lake, "silver/orders", 1, 2)
    refused = pdp("maintain", "orders")
    assert refused.exit_code == 2 and "run-12345678 writes its tables" in refused.stderr
    assert len(lake.delta("silver/orders").file_uris()) == 2
