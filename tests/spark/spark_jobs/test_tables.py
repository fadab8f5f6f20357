"""Delta tables under both engines: columns come and go, types do not, and a date is all that a write touches."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial

import pytest

from maintenance.z_order import arrange
from platform_core.errors import PermanentError
from spark_jobs.writing import few_rows, tables
from tests.rigs.lake.delta_rows import rows, types
from tests.spark.conftest import Engine

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
TABLE = "silver/thing"


@pytest.mark.parametrize("few", [False, True], ids=["by the engine", "by this process"])
def test_a_replaced_date_evolves_and_leaves_the_other_date(empty_engine: Engine, few: bool) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    replace = partial(tables.replace_partition, lake=lake, name=TABLE, partition_column="day", few=few)
    lines = "from_json('[{\"a\": 1}]', 'array<struct<a: bigint>>')"
    first = spark.sql(f"select 1L as id, 'ab' as text, {lines} as items union all select 2L, null, null")
    assert replace(first, day=DAY) == 2
    assert replace(first, day=NEXT) == 2
    # Neither engine minds what maintenance has done to the table: the files of delta-rs, and a property of ours.
    arrange(lake.delta(TABLE), ("id", "text"), file_bytes=1)
    assert spark.read.format("delta").load(lake.spark_uri(TABLE)).where("id = 2").count() == 2
    wider = spark.sql(f"select 3L as id, 'x' as text, {lines} as items, 1.50BD as price, struct(1L as b) as more")
    assert replace(wider, day=DAY) == 1
    assert set(types(lake, TABLE)) == {"id", "text", "items", "day", "price", "more"}
    [row] = rows(lake, TABLE, "day", DAY)
    assert (row["id"], row["price"], row["more"], row["items"]) == (3, Decimal("1.50"), {"b": 1}, [{"a": 1}])
    assert [(row["id"], row["text"], row["price"]) for row in rows(lake, TABLE, "day", NEXT)] == [
        (1, "ab", None),
        (2, None, None),
    ]
    assert replace(spark.sql("select 4L as id"), day=DAY) == 1
    [row] = rows(lake, TABLE, "day", DAY)
    assert (row["id"], row["text"], row["more"]) == (4, None, None)
    assert tables.has_partition(lake, TABLE, "day", DAY)
    assert replace(first.where("false"), day=DAY) == 0
    assert not tables.has_partition(lake, TABLE, "day", DAY)
    assert len(rows(lake, TABLE)) == 2


def test_a_column_cannot_change_its_type(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    tables.replace_partition(spark.sql("select 1L as id"), lake, TABLE, "day", DAY)
    with pytest.raises(PermanentError, match=r"`id` of .*silver/thing"):
        tables.replace_partition(spark.sql("select 'x' as id"), lake, TABLE, "day", DAY)
    assert [row["id"] for row in rows(lake, TABLE)] == [1]


@pytest.mark.parametrize(("limit", "fetched"), [(few_rows.MOST_BYTES, True), (100_000, False)])
def test_few_rows_that_turn_out_large_are_written_by_the_engine(
    empty_engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: int, fetched: bool
) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    here: list[int] = []
    by_this_process = tables.replace_small_partition
    monkeypatch.setattr(few_rows, "MOST_BYTES", limit)
    monkeypatch.setattr(
        tables, "replace_small_partition", lambda found, *to: here.append(len(found)) or by_this_process(found, *to)
    )
    df = spark.range(200).selectExpr("id", "repeat('x', 1000) as text", "timestamp'2026-11-20 01:02:03' as at")
    assert tables.replace_partition(df, lake, TABLE, "day", DAY, few=True) == 200
    assert here == [200] * fetched
    written = rows(lake, TABLE, "day", DAY)
    assert sorted(row["id"] for row in written) == list(range(200))
    assert {(row["text"], row["at"].isoformat()) for row in written} == {("x" * 1000, "2026-11-20T01:02:03+00:00")}
