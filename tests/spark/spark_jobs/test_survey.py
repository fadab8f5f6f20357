"""What the survey of a date tells of its keys: which rules warn of them, however many there are, and which are odd."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyspark.sql import functions as F

from platform_core.domain.catalog import Catalog, Domain, Quality, Rule
from platform_core.domain.contract import ColumnType
from spark_jobs import bronze_to_silver, steps
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Log, order
from tests.rigs.lake.delta_rows import rows
from tests.spark.conftest import Engine


def eight_orders() -> list[bronze_days.Record]:
    log = Log()
    for number in range(1, 9):
        log.add(order(number, "placed", "10.00", updated=2))
    return log.records


def judged(engine: Engine, domain: Domain, rules: list[Rule]) -> bronze_to_silver.SilverResult:
    domain = domain.model_copy(update={"quality": Quality(rules=tuple(rules), max_quarantined_ratio=1.0)})
    files = bronze_days.write(engine.lake, domain, DAY, eight_orders())
    return bronze_to_silver.run(engine.spark, engine.lake, domain, DAY, files)


def test_rules_that_warn_are_told_apart_however_many_they_are(empty_engine: Engine, catalog: Catalog) -> None:
    odd = {0: "order_id <> 1", 1: "order_id not in (1, 2)", 65: "order_id <> 1", 69: "order_id <> 3"}
    rules = [Rule(name=f"r{n}", expression=odd.get(n, "order_id > 0"), on_failure="warn") for n in range(70)]
    result = judged(empty_engine, catalog["orders"], rules)
    assert (result.warned, result.silver_rows) == ({"r0": 1, "r1": 2, "r65": 1, "r69": 1}, 8)


def test_keys_of_one_hash_are_counted_each(
    empty_engine: Engine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_key_hash", lambda _: F.col("order_id") % 3)
    result = judged(empty_engine, catalog["orders"], [Rule(name="bad", expression="order_id <> 3", reason="it is bad")])
    assert (result.silver_rows, result.quarantined, result.key_duplicates) == (7, {"bad": 1}, 0)


def test_zero_is_one_key_whatever_its_sign(empty_engine: Engine, catalog: Catalog) -> None:
    domain = catalog["orders"].model_copy(update={"quality": Quality(max_quarantined_ratio=1.0)})
    columns = [
        replace(column, type=ColumnType.NUMBER) if column.name == "order_id" else column
        for column in domain.contract.columns
    ]
    vars(domain)["contract"] = replace(domain.contract, columns=tuple(columns))
    log = Log()
    for number, updated in ((0.0, 2), (-0.0, 3), (-0.5, 2), (0.5, 2)):
        log.add({**order(1, "placed", "10.00", updated=updated), "order_id": number})
    files = bronze_days.write(empty_engine.lake, domain, DAY, log.records)
    result = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
    assert (result.silver_rows, result.key_duplicates) == (3, 1)
    found = rows(empty_engine.lake, empty_engine.lake.silver(domain))
    assert sorted(repr(row["order_id"]) for row in found) == ["-0.5", "0.0", "0.5"]
