"""Names and types of the warehouse's tables: what SQL takes for its own words is quoted, what cannot be is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from platform_core.errors import PermanentError
from warehouse import ddl
from warehouse.load import GoldPartition, LoadMismatchError, load_date


def test_every_name_is_quoted_in_upper_case():
    table = ddl.identifier("analytics", "group", "order")
    assert table == '"ANALYTICS"."GROUP"."ORDER"'
    gold = pa.schema([("order", pa.string()), ("select", pa.int64())])
    assert ddl.create_table(table, gold, ["order"]) == (
        f'CREATE TABLE IF NOT EXISTS {table} ("ORDER" VARCHAR NOT NULL, "SELECT" NUMBER(38,0),'
        ' "_LOADED_AT" TIMESTAMP_NTZ(6), "_RUN_ID" VARCHAR)'
    )
    assert ddl.add_columns(table, gold, {"SELECT", "_RUN_ID"}) == [
        f'ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "ORDER" VARCHAR'
    ]


@pytest.mark.parametrize("name", ["a-b", 'a"b', "", "1a", "a.b", "a\n"])
def test_what_is_no_plain_name_is_refused(name):
    with pytest.raises(PermanentError, match="cannot be a name"):
        ddl.identifier(name)


@pytest.mark.parametrize("names", [("City", "city"), ("_loaded_at", "city"), ("_RUN_ID", "city")])
def test_two_columns_that_would_be_one_are_refused(names):
    with pytest.raises(PermanentError, match="twice"):
        ddl.columns(pa.schema([(name, pa.int64()) for name in names]))


@pytest.mark.parametrize(
    "kind", [pa.decimal256(39, 0), pa.decimal128(38, 38), pa.decimal128(5, -2), pa.list_(pa.int64()), pa.binary()]
)
def test_types_that_no_column_holds_are_refused(kind):
    with pytest.raises(PermanentError, match="cannot be loaded"):
        ddl.column_type(kind)


DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (pa.array(["a", None]), "`key` is NULL"),
        (pa.array(["a", "b", "a"]), r"the key .*'a'\) 2 times"),
    ],
)
def test_rows_whose_keys_a_merge_would_insert_again_are_refused_before_anything_is_asked(keys, message):
    class Nobody:
        def cursor(self):
            raise AssertionError("the warehouse was asked")

    rows = pa.table({"day": [DAY] * len(keys), "key": keys, "sum": [Decimal("1.00")] * len(keys)})
    part = GoldPartition("orders", ("day", "key"), rows)
    with pytest.raises(LoadMismatchError, match=message):
        load_date(
            Nobody(),
            database="a",
            schema="b",
            domain="orders",
            day=DAY,
            run_id="r",
            partitions=[part],
        )
