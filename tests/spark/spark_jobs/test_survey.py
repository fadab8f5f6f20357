"""What the survey of a date tells of its keys: which rules warn of them, however many there are, and which are odd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as F

from audit.stages import bronze_to_silver as audited
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
    monkeypatch.setattr(steps, "_key_hash", lambda key: F.col(key[0]) % 3)
    result = judged(empty_engine, catalog["orders"], [Rule(name="bad", expression="order_id <> 3", reason="it is bad")])
    assert (result.silver_rows, result.quarantined, result.key_duplicates) == (7, {"bad": 1}, 0)


def with_numbers(catalog: Catalog, **silver: Any) -> Domain:
    """Return orders whose key is a number, without rules."""
    orders = catalog["orders"]
    changed = {"quality": Quality(max_quarantined_ratio=1.0), "silver": orders.silver.model_copy(update=silver)}
    domain = orders.model_copy(update=changed)
    columns = [
        replace(column, type=ColumnType.NUMBER) if column.name == "order_id" else column
        for column in domain.contract.columns
    ]
    vars(domain)["contract"] = replace(domain.contract, columns=tuple(columns))
    return domain


def test_zero_is_one_version_whatever_its_sign(empty_engine: Engine, catalog: Catalog) -> None:
    domain = with_numbers(catalog, primary_key=("user_id",), order_by=("order_id",))
    log = Log()
    for number, status in ((0.0, "placed"), (-0.0, "delivered")):
        log.add({**order(1, status, "10.00"), "order_id": number})
    files = bronze_days.write(empty_engine.lake, domain, DAY, log.records)
    bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
    [latest] = rows(empty_engine.lake, empty_engine.lake.silver(domain))
    assert latest["status"] == "delivered", "the later offset"
    assert audited.compare(empty_engine.lake, domain, DAY, files).ok


@pytest.mark.parametrize("name", ["rule", "rows", "warnings", "bad_hash", "records", "slice"])
def test_a_key_may_have_the_name_of_a_count(empty_engine: Engine, name: str) -> None:
    given = empty_engine.spark.range(3).selectExpr(
        f"id % 2 as {name}",
        "'t' as _topic",
        "0 as _partition",
        "id as _offset",
        "timestamp_micros(id) as _kafka_timestamp",
        f"'' as {steps.REASON}",
        f"'' as {steps.WARNINGS}",
        f"'' as {steps.RECORD_HASH}",
    )
    lines = steps.tally(given, [name]).toArrow().to_pylist()
    assert sum(line["rows"] for line in lines) == 3
    assert sum(line["keys"] for line in lines) == 2


def test_zero_is_one_key_whatever_its_sign(empty_engine: Engine, catalog: Catalog) -> None:
    domain = with_numbers(catalog)
    log = Log()
    for number, updated in ((0.0, 2), (-0.0, 3), (-0.5, 2), (0.5, 2)):
        log.add({**order(1, "placed", "10.00", updated=updated), "order_id": number})
    files = bronze_days.write(empty_engine.lake, domain, DAY, log.records)
    result = bronze_to_silver.run(empty_engine.spark, empty_engine.lake, domain, DAY, files)
    assert (result.silver_rows, result.key_duplicates) == (3, 1)
    found = rows(empty_engine.lake, empty_engine.lake.silver(domain))
    assert sorted(repr(row["order_id"]) for row in found) == ["-0.5", "0.0", "0.5"]
