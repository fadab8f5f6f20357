"""The warehouse's sums are Gold's, to the last digit of every scale."""

from __future__ import annotations

import random
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa

from infra.embedded.services.warehouse import WarehouseService
from platform_core.settings import Settings
from warehouse import ddl
from warehouse.connection import connect
from warehouse.totals import scales, totals_of_gold, totals_of_warehouse

TYPES = {
    "n": pa.int64(),
    "rating": pa.decimal128(4, 2),
    "price": pa.decimal128(12, 2),
    "share": pa.decimal128(20, 10),
    "nothing": pa.decimal128(12, 2),
    "ratio": pa.float64(),
}


def test_a_sum_is_exact_on_both_sides_whatever_the_scale(warehouse: WarehouseService) -> None:
    draw = random.Random(5)
    numbers = [draw.randint(1, 9_999) for _ in range(300)]
    gold = pa.table(
        {
            "n": numbers,
            "rating": [Decimal(n) / 100 for n in numbers],
            "price": [Decimal(n * 1_000_003) / 100 for n in numbers],
            "share": [Decimal(n).scaleb(-10) for n in numbers],
            "nothing": [None] * len(numbers),
            "ratio": [n / 7 for n in numbers],
        },
        schema=pa.schema(TYPES),
    )
    assert list(scales(gold.schema).items()) == [("N", 0), ("RATING", 2), ("PRICE", 2), ("SHARE", 10), ("NOTHING", 2)]
    login: dict[str, Any] = {name.lower(): value for name, value in warehouse.env().items()}
    config = Settings(**login)
    schema = f"{config.snowflake_database}.TOTALS_{uuid.uuid4().hex[:8].upper()}"
    table = f"{schema}.NUMBERS"
    rows = ", ".join(
        f"({', '.join('NULL' if v is None else str(v) for v in row.values())})" for row in gold.to_pylist()
    )
    with connect(config, "test") as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE SCHEMA {schema}")
        cursor.execute(ddl.create_table(table, gold.schema))
        cursor.execute(f"INSERT INTO {table} ({', '.join(name.upper() for name in TYPES)}) VALUES {rows}")
        found = totals_of_warehouse(cursor, table, scales(gold.schema), "TRUE")
        cursor.execute(f"DROP SCHEMA {schema}")
    assert found == totals_of_gold(gold)
    assert found.sums["RATING"] == Decimal(sum(numbers)) / 100
