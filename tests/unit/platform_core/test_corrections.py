"""The difference of two states of a Gold table, and the ledger that keeps it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from platform_core.lake.corrections import Correction, CorrectionLedger, correction_id, difference
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

DAY = date(2026, 11, 20)
LINE = Correction(
    correction_id=correction_id("orders", DAY, datetime(2026, 11, 21, tzinfo=UTC)),
    domain="orders",
    partition_date=DAY,
    at=datetime(2026, 11, 22, tzinfo=UTC),
    run_id="r",
    cause="late files",
    new_files=1,
    gone_files=0,
    record_difference=3,
    gold_table="orders",
    change="updated",
    key="{}",
    before=None,
    after=None,
)


def gold(*rows: tuple[str, int, str]) -> pa.Table:
    return pa.table(
        {
            "order_date": pa.array([DAY] * len(rows), pa.date32()),
            "city": pa.array([r[0] for r in rows], pa.string()),
            "orders": pa.array([r[1] for r in rows], pa.int64()),
            "revenue": pa.array([Decimal(r[2]) for r in rows], pa.decimal128(38, 2)),
        }
    )


def test_only_what_differs_is_kept_to_the_cent() -> None:
    before = gold(("Berlin", 2, "10.10"), ("Paris", 1, "5.00"), ("Rome", 1, "1.00"))
    after = gold(("Madrid", 1, "7.00"), ("Berlin", 3, "10.10"), ("Paris", 1, "5.01"))
    found = {json.loads(c.key)["city"]: c for c in difference(before, after, ["order_date", "city"])}
    assert {city: c.change for city, c in found.items()} == {
        "Berlin": "updated",
        "Madrid": "inserted",
        "Paris": "updated",
        "Rome": "deleted",
    }
    assert (found["Berlin"].before, found["Berlin"].after) == ('{"orders": 2}', '{"orders": 3}')
    assert (found["Paris"].before, found["Paris"].after) == ('{"revenue": "5.00"}', '{"revenue": "5.01"}')
    assert found["Rome"].after is None
    assert found["Madrid"].before is None


def test_the_order_of_rows_is_no_difference() -> None:
    rows = [("Berlin", 2, "10.10"), ("Paris", 1, "5.00")]
    [only] = difference(gold(*rows), gold(*rows[::-1]), ["order_date", "city"])
    assert only.change == "none"


def test_a_column_that_is_new_was_null() -> None:
    before = gold(("Berlin", 2, "10.10")).drop_columns(["revenue"])
    [only] = difference(before, gold(("Berlin", 2, "10.10")), ["order_date", "city"])
    assert (only.before, only.after) == ('{"revenue": null}', '{"revenue": "10.10"}')


def test_a_second_attempt_replaces_the_lines_of_the_first(tmp_path: Path) -> None:
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    ledger = CorrectionLedger(lake)
    assert ledger.read() == []
    ledger.record([LINE, replace(LINE, key='{"city": "Rome"}')])
    other = replace(LINE, correction_id="other", domain="events", cause="backfill")
    ledger.record([other])
    ledger.record([replace(LINE, run_id="second")])
    assert [line.run_id for line in ledger.read("orders", DAY)] == ["second"]
    assert ledger.read("events") == [other]
    assert ledger.read("orders", date(2026, 1, 1)) == []


def test_a_value_that_is_no_number_is_no_difference() -> None:
    rows = pa.table({"city": ["Berlin"], "median": [float("nan")]})
    [only] = difference(rows, rows, ["city"])
    assert only.change == "none"
