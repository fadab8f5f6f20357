"""Delta tables under both engines: columns come and go, types do not, and a date is all that a write touches."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from spark_jobs import tables
from spark_jobs.tables import MergeCounts
from tests.rigs.delta_rows import rows, types
from tests.spark.conftest import Engine

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
TABLE = "silver/thing"


def test_a_replaced_date_evolves_and_leaves_the_other_date(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    lines = "from_json('[{\"a\": 1}]', 'array<struct<a: bigint>>')"
    first = spark.sql(f"select 1L as id, 'ab' as text, {lines} as items union all select 2L, null, null")
    assert tables.replace_partition(first, lake, TABLE, "day", DAY) == 2
    assert tables.replace_partition(first, lake, TABLE, "day", NEXT) == 2
    wider = spark.sql(f"select 3L as id, 'x' as text, {lines} as items, 1.50BD as price, struct(1L as b) as more")
    assert tables.replace_partition(wider, lake, TABLE, "day", DAY) == 1
    assert set(types(lake, TABLE)) == {"id", "text", "items", "day", "price", "more"}
    [row] = rows(lake, TABLE, "day", DAY)
    assert (row["id"], row["price"], row["more"], row["items"]) == (3, Decimal("1.50"), {"b": 1}, [{"a": 1}])
    assert [(row["id"], row["text"], row["price"]) for row in rows(lake, TABLE, "day", NEXT)] == [
        (1, "ab", None),
        (2, None, None),
    ]
    assert tables.replace_partition(spark.sql("select 4L as id"), lake, TABLE, "day", DAY) == 1
    [row] = rows(lake, TABLE, "day", DAY)
    assert (row["id"], row["text"], row["more"]) == (4, None, None)
    assert tables.has_partition(lake, TABLE, "day", DAY)
    assert tables.replace_partition(first.where("false"), lake, TABLE, "day", DAY) == 0
    assert not tables.has_partition(lake, TABLE, "day", DAY)
    assert len(rows(lake, TABLE)) == 2


def test_a_column_cannot_change_its_type(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    tables.replace_partition(spark.sql("select 1L as id"), lake, TABLE, "day", DAY)
    with pytest.raises(PermanentError, match=r"`id` of .*silver/thing"):
        tables.replace_partition(spark.sql("select 'x' as id"), lake, TABLE, "day", DAY)
    assert [row["id"] for row in rows(lake, TABLE)] == [1]


def test_a_merge_updates_inserts_deletes_and_then_changes_nothing(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake

    def merge(sql: str, day: date = DAY) -> MergeCounts:
        frame = spark.sql(f"select date'{day}' as day, * from {sql}")
        return tables.merge_partition(spark, frame, lake, "gold/thing", ["day", "city"], day)

    assert merge("values ('a', 1), (null, 2), ('c', null) t(city, n)") == MergeCounts(inserted=3)
    assert merge("values ('a', 9) t(city, n)", NEXT) == MergeCounts(inserted=1)
    other = files(lake, "gold/thing", NEXT)
    assert merge("values ('a', 1), (null, 2), ('c', null) t(city, n)") == MergeCounts()
    assert merge("values ('a', 5), (null, 2), ('d', 4) t(city, n)") == MergeCounts(1, 1, 1)
    assert merge("values ('a', 5, 'new'), (null, 2, null), ('d', 4, null) t(city, n, note)") == MergeCounts(updated=1)
    assert [(row["city"], row["n"], row["note"]) for row in rows(lake, "gold/thing", "day", DAY)] == [
        ("a", 5, "new"),
        ("d", 4, None),
        (None, 2, None),
    ]
    assert merge("values ('a', 5) t(city, n) where false") == MergeCounts(deleted=3)
    assert [row["n"] for row in rows(lake, "gold/thing")] == [9]
    assert files(lake, "gold/thing", NEXT) == other, "merging a date rewrites no other date"


def files(lake: Lake, name: str, day: date) -> list[str]:
    return lake.delta(name).file_uris(partition_filters=[("day", "=", day.isoformat())])
