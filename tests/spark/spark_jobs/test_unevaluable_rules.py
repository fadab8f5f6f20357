"""A rule that is an error for one row concerns that row, by the rule's name, and alike on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyspark.errors as pe
import pytest

from platform_core.domain.catalog import Catalog, Domain, Quality, Rule
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.judging import unevaluable_rows
from spark_jobs.steps import NOT_EVALUATED
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Log, at, line, order
from tests.spark.conftest import Engine

MOST = 2**63 - 1

ODD: dict[int, dict[str, Any]] = {
    2: {"discount": "0.00"},
    3: {"user_id": MOST},
    4: {"city": "Paris"},
    5: {"items": "[" + bronze_days.json.dumps(line(1, "1.10")) + "]"},
    6: {"user_id": -MOST - 1},
    7: {"subtotal": "5000.00"},
}

RULES: dict[str, tuple[str, set[int]]] = {
    "quotient": ("subtotal / discount > 0", {2}),
    "cast": ("cast(city as int) > 0", {4}),
    "silent_cast": ("city > 5", {4}),
    "date": ("to_date(concat('2024-01-0', city)) >= date'2024-01-01'", {4}),
    "index": ("items[1].quantity > 0", {5}),
    "product": ("user_id * 1000 between -10000 and 10000", {3, 6}),
    "sum": ("user_id + 1 - 1 < 100 and user_id + user_id <= 100", {3, 6}),
    "narrow": ("cast(user_id as int) < 100", {3, 6}),
    "narrow_money": ("cast(total as decimal(4,2)) > 0", {7}),
    "negative": ("-user_id < 100", {6}),
}


def strange_orders() -> list[bronze_days.Record]:
    log = Log()
    for number in range(1, 9):
        odd: dict[str, Any] = {
            "city": "7",
            "discount": "0.50",
            "user_id": 5,
            "subtotal": "10.00",
            **ODD.get(number, {}),
        }
        log.add(order(number, "placed", odd.pop("subtotal"), updated=2, **odd))
    return log.records


def with_rules(domain: Domain, rules: dict[str, str]) -> Domain:
    made = tuple(Rule(name=name, expression=text, reason="it is odd") for name, text in rules.items())
    return domain.model_copy(update={"quality": Quality(rules=made, max_quarantined_ratio=1.0)})


def reasons(lake: Lake, domain: Domain) -> dict[int, list[str]]:
    import json

    rows = lake.delta(lake.quarantine(domain)).to_pyarrow_table().to_pylist()
    return {json.loads(row["record"])["order_id"]: row["reason"].split("; ") for row in rows}


def test_each_row_is_judged_and_no_date_fails(empty_engine: Engine, catalog: Catalog) -> None:
    domain = with_rules(catalog["orders"], {name: text for name, (text, _) in RULES.items()})
    files = bronze_days.write(empty_engine.lake, domain, DAY, strange_orders())
    result = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
    bad = {number: {name for name, (_, numbers) in RULES.items() if number in numbers} for number in ODD}
    found = reasons(empty_engine.lake, domain)
    assert {number: {text.partition(":")[0] for text in texts} for number, texts in found.items()} == bad
    assert all(text.endswith(f": it is odd ({NOT_EVALUATED})") for texts in found.values() for text in texts)
    assert (result.silver_rows, result.published) == (2, True)
    assert sum(result.quarantined.values()) == 6


def test_a_rule_that_only_warns_is_counted(empty_engine: Engine, catalog: Catalog) -> None:
    warn = Rule(name="warns", expression="cast(city as int) > 0", on_failure="warn")
    domain = catalog["orders"].model_copy(update={"quality": Quality(rules=(warn,))})
    files = bronze_days.write(empty_engine.lake, domain, DAY, strange_orders())
    result = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
    assert (result.warned, result.quarantined, result.silver_rows) == ({"warns": 1}, {}, 8)


def test_a_rule_that_fails_for_many_rows_is_wrong(
    engines: dict[str, Engine], catalog: Catalog, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unevaluable_rows, "MOST_ROWS", 3)
    sail, lake = engines["sail"], Lake(Settings(lake_uri=str(tmp_path)))
    domain = with_rules(catalog["orders"], {"wrong": "to_date(currency) is not null"})
    files = bronze_days.write(lake, domain, DAY, strange_orders())
    with pytest.raises(PermanentError, match=r"rule `wrong`: .* more than 3 records .* raw-orders:"):
        bronze_to_silver.run(sail.spark, lake, domain, DAY, files)


class GoneEngine:
    """Takes every table and answers nothing."""

    def createDataFrame(self, rows: pa.Table) -> GoneEngine:
        return self

    def select(self, *columns: object) -> GoneEngine:
        return self

    agg = select

    @property
    def columns(self) -> list[str]:
        return ["city"]

    def toArrow(self) -> pa.Table:
        return pa.table({"_identity": ["a", "b"], "city": ["7", "8"]})

    @property
    def schema(self) -> object:
        return self.analysed()

    def analysed(self) -> object:
        return None

    def collect(self) -> list[object]:
        raise pe.PySparkException("gone")


def test_an_engine_that_has_gone_is_not_a_bad_row(engines: dict[str, Engine]) -> None:
    gone: Any = GoneEngine()
    rule = Rule(name="cast", expression="cast(city as int) > 0")
    domain: Any = SimpleNamespace(name="orders")
    with pytest.raises(pe.PySparkException, match="gone"):
        unevaluable_rows.unevaluable_rows(gone, gone, [rule], domain)


ABSURD = {
    "orders": [
        order(1, "delivered", "9999999999.99", fee="0.00", delivered_at=at(2)),
        order(2, "delivered", "9999999999.99", fee="0.00", delivered_at=at(700)),
        order(3, "placed", "-9999999999.99", fee="0.00", user_id=-MOST - 1, restaurant_id=MOST),
        order(4, "cancelled", "9999999999.99", fee="0.00", cancelled_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        order(5, "delivered", "1.00", delivered_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        order(6, "placed", "1.00", items=f"[{bronze_days.json.dumps({**line(1, '1.10'), 'quantity': 2**31 - 1})}]" * 1),
        order(
            7,
            "placed",
            "1.00",
            items="[" + ", ".join([bronze_days.json.dumps(line(2**31 - 1, "9999999999.99"))] * 9) + "]",
        ),
        order(8, "delivered", "0.00", fee="0.00", delivered_at=None),
    ],
}


def test_absurd_values_fail_neither_silver_nor_gold(empty_engine: Engine, catalog: Catalog) -> None:
    for name, values in ABSURD.items():
        domain, log = catalog[name], Log()
        for each in values:
            log.add(each)
        files = bronze_days.write(empty_engine.lake, domain, DAY, log.records)
        silver = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
        assert silver.quarantined == {"amounts_plausible": 4, "delivered_after_creation": 1}
        silver_to_gold.run(empty_engine.spark, empty_engine.lake, domain, DAY)
    [row] = empty_engine.lake.delta(empty_engine.lake.gold(catalog["orders"], "orders")).to_pyarrow_table().to_pylist()
    assert row["net_revenue"] == Decimal("7.00") and row["orders"] == 3
