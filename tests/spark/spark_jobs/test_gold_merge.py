"""The MERGE of one date into a Gold table, by delta-rs for few rows and by either engine for many: one outcome."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from spark_jobs.writing import gold_merge
from spark_jobs.writing.gold_merge import MergeCounts, merge_partition
from tests.rigs.lake.delta_rows import rows
from tests.spark.conftest import Engine

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
TABLE = "gold/thing"


@pytest.fixture(params=["delta-rs", "engine"])
def merger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "engine":
        monkeypatch.setattr(gold_merge, "ENGINE_MERGE_ROWS", 0)
    return str(request.param)


def test_a_merge_updates_inserts_deletes_and_then_changes_nothing(empty_engine: Engine, merger: str) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake

    def merge(sql: str, day: date = DAY) -> MergeCounts:
        frame = spark.sql(f"select date'{day}' as day, * from {sql}")
        return merge_partition(spark, frame.toArrow(), lake, TABLE, ["day", "city"], day)

    assert merge("values ('a', 1), (null, 2), ('c', null) t(city, n)") == MergeCounts(inserted=3)
    assert merge("values ('a', 9) t(city, n)", NEXT) == MergeCounts(inserted=1)
    other = files(lake, TABLE, NEXT)
    assert merge("values ('a', 1), (null, 2), ('c', null) t(city, n)") == MergeCounts()
    assert merge("values ('a', 5), (null, 2), ('d', 4) t(city, n)") == MergeCounts(1, 1, 1)
    assert merge("values ('a', 5, 'new'), (null, 2, null), ('d', 4, null) t(city, n, note)") == MergeCounts(updated=1)
    assert [(row["city"], row["n"], row["note"]) for row in rows(lake, TABLE, "day", DAY)] == [
        ("a", 5, "new"),
        ("d", 4, None),
        (None, 2, None),
    ]
    assert merge("values ('a', 5) t(city, n) where false") == MergeCounts(deleted=3)
    assert [row["n"] for row in rows(lake, TABLE)] == [9]
    assert files(lake, TABLE, NEXT) == other, "merging a date rewrites no other date"


WIDE: list[dict[str, Any]] = [
    {
        "City": None if number == 0 else f"it's {number}",
        "order": number,
        "amount": Decimal("12.30"),
        "ratio": -0.5,
        "at": datetime(1, 1, 1, tzinfo=UTC) if number == 2 else datetime(2026, 11, 20, 1, 2, 3, 4, tzinfo=UTC),
        "items": [{"name": "soup", "n": number}, {"name": None, "n": None}],
        "nothing": None,
    }
    for number in range(4)
]
WIDE_SCHEMA = pa.schema(
    {
        "City": pa.string(),
        "order": pa.int64(),
        "amount": pa.decimal128(18, 2),
        "ratio": pa.float64(),
        "at": pa.timestamp("us", tz="UTC"),
        "items": pa.list_(pa.struct({"name": pa.string(), "n": pa.int32()})),
        "nothing": pa.string(),
    }
)


def test_values_of_every_type_come_back_as_they_were(empty_engine: Engine, merger: str) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake

    def merge(values: list[dict[str, Any]]) -> MergeCounts:
        table = pa.Table.from_pylist(values, WIDE_SCHEMA)
        return merge_partition(spark, table, lake, TABLE, ["day", "City", "order"], DAY)

    assert merge(WIDE) == MergeCounts(inserted=4)
    expected = sorted(WIDE, key=lambda row: row["order"])
    stored = sorted(rows(lake, TABLE), key=lambda row: row["order"])
    assert [text_of(row) for row in stored] == [text_of({**row, "day": DAY}) for row in expected]
    assert merge(WIDE) == MergeCounts(), "NULL and a list equal themselves"
    changed = [{**WIDE[0], "items": [{"name": "soup", "n": 7}]}, *WIDE[1:3]]
    assert merge(changed) == MergeCounts(updated=1, deleted=1)


def test_many_rows_are_merged_by_the_engine(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    many = gold_merge.ENGINE_MERGE_ROWS + 1

    def table(rows: int) -> pa.Table:
        return pa.table({"key": pa.array(range(rows), pa.int64()), "text": pa.array(["a longer text"] * rows)})

    assert merge_partition(spark, table(many), lake, TABLE, ["day", "key"], DAY) == MergeCounts(inserted=many)
    assert merge_partition(spark, table(10), lake, TABLE, ["day", "key"], DAY) == MergeCounts(deleted=many - 10)


def test_a_column_cannot_change_its_type(empty_engine: Engine) -> None:
    spark, lake = empty_engine.spark, empty_engine.lake
    merge_partition(spark, pa.table({"key": [1]}), lake, TABLE, ["day", "key"], DAY)
    with pytest.raises(PermanentError, match=r"`key` of .*gold/thing"):
        merge_partition(spark, pa.table({"key": ["x"]}), lake, TABLE, ["day", "key"], DAY)


def text_of(row: dict[str, Any]) -> dict[str, str]:
    """A time zone has two names; its text is one."""
    return {name: str(value) for name, value in row.items()}


def files(lake: Lake, name: str, day: date) -> list[str]:
    return lake.delta(name).file_uris(file_pruning_predicate=[("day", "=", day.isoformat())])


def test_a_key_can_be_added(empty_engine: Engine, merger: str) -> None:
    """Rows from before have NULL there: the date's groups vanish under their old key, another date keeps them."""
    spark, lake = empty_engine.spark, empty_engine.lake
    for day in (DAY, NEXT):
        merge_partition(spark, pa.table({"city": ["a", "b"], "n": [1, 2]}), lake, TABLE, ["day", "city"], day)
    split = pa.table({"city": ["a", "a", None], "currency": ["EUR", "SEK", "EUR"], "n": [1, 3, 4]})
    keys = ["day", "city", "currency"]
    assert merge_partition(spark, split, lake, TABLE, keys, DAY) == MergeCounts(inserted=3, deleted=2)
    assert merge_partition(spark, split, lake, TABLE, keys, DAY) == MergeCounts()
    assert [(row["city"], row["currency"], row["n"]) for row in rows(lake, TABLE, "day", DAY)] == [
        ("a", "EUR", 1),
        ("a", "SEK", 3),
        (None, "EUR", 4),
    ]
    assert {(row["city"], row["currency"]) for row in rows(lake, TABLE, "day", NEXT)} == {("a", None), ("b", None)}
