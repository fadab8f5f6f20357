"""Columns whose names are words of SQL, from Bronze to the audit on both engines, and into the warehouse stand-in."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import yaml

from audit.stages import bronze_to_silver as audit_silver
from audit.stages import silver_to_gold as audit_gold
from infra.embedded.services.warehouse import WarehouseService
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.domain.catalog_checks import RESERVED_WORDS, refuse_unreadable
from platform_core.domain.gold_tables import NOT_A_COLUMN, load_gold_tables
from platform_core.errors import ConfigurationError, PermanentError
from spark_jobs import bronze_to_silver, silver_to_gold
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, Log, at
from tests.rigs.settings_of import settings_of
from tests.spark.conftest import Engine
from warehouse import ddl
from warehouse.connection import connect
from warehouse.load import GoldPartition, load_date

OF_SPARK = ("anti", "bucket", "end", "exists", "interval", "lateral", "semi", "timestamp", "unbounded", "user", "date")
WORDS = tuple(sorted({*RESERVED_WORDS, *OF_SPARK} - {"order"}))
"""Columns of text; `order` is the primary key."""

IN_GOLD = tuple(word for word in WORDS if word not in NOT_A_COLUMN)

TRANSFORM = """
from platform_core.domain.plugin import BaseDomainTransform
class Transform(BaseDomainTransform):
    def transform(self, df, cfg):
        return df
"""
AGGREGATION = f"""
from pyspark.sql import functions as F
from platform_core.domain.plugin import BaseDomainAggregation
class Aggregation(BaseDomainAggregation):
    def aggregate(self, df, cfg, dt):
        words = [F.max(word).alias(word) for word in {IN_GOLD!r} if word not in ("end", "interval")]
        return df.groupBy("end", "interval").agg(F.count(F.lit(1)).alias("order"), *words)
"""


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    folder = tmp_path_factory.mktemp("words")
    package = folder / "domain_of_words"
    package.mkdir()
    text = {"type": "string"}
    contract = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "order": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            **dict.fromkeys((word for word in WORDS if word != "end"), text),
        },
        "required": ["order", "at"],
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    described = dict.fromkeys(("end", "order", *IN_GOLD), "a word")
    for file, content in {
        "__init__.py": "",
        "contract.json": json.dumps(contract),
        "transform.py": TRANSFORM,
        "aggregation.py": AGGREGATION,
        "gold.yaml": yaml.safe_dump({"words": {"description": "words", "columns": described}}),
    }.items():
        (package / file).write_text(content)
    entry: dict[str, Any] = {
        "description": "Words of SQL",
        "owner": "team:words",
        "start_date": "2025-01-01",
        "plugin": package.name,
        "topic": {"key": "order"},
        "bronze": {"partition_key": "end", "timestamp_col": "at"},
        "silver": {"primary_key": ["order"], "order_by": ["at", "group"]},
        "gold": {
            "tables": {"words": ["end", "interval"]},
            "reconcile": [{"table": "words", "gold": 'sum("order")', "silver": 'count("select")'}],
        },
        "quality": {
            "max_quarantined_ratio": 1.0,
            "rules": [{"name": "selected", "expression": "`select` is not null and length(`table`) + 1 < 9"}],
        },
    }
    path = folder / "domains.yaml"
    path.write_text(yaml.safe_dump({"domains": {"words": entry}}))
    loaded = load_catalog(path)["words"]
    refuse_unreadable(loaded)
    return loaded


def records() -> list[bronze_days.Record]:
    log = Log()
    for number in range(1, 5):
        values = {word: f"{word[:3]}{number}" for word in WORDS if word != "end"} | {"interval": "i"}
        log.add({"order": number, "at": at(number), **values, "select": None if number == 4 else "s"})
    log.add({"order": 1, "at": at(7), **{word: "x" for word in WORDS if word != "end"}, "interval": "i"})
    return log.records


def test_columns_may_be_words_of_sql(empty_engine: Engine, domain: Domain) -> None:
    lake = empty_engine.lake
    files = bronze_days.write(lake, domain, DAY, records())
    for _ in range(2):  # the second time rows are replaced and merged
        result = bronze_to_silver.run(empty_engine.spark, lake, domain, DAY, files)
        assert (result.silver_rows, result.quarantined) == (3, {"selected": 1})
        silver_to_gold.run(empty_engine.spark, lake, domain, DAY)
    [row] = lake.delta(lake.gold(domain, "words")).to_pyarrow_table().to_pylist()
    assert (row["order"], row["group"], row["interval"]) == (3, "x", "i")
    for found in (audit_silver.compare(lake, domain, DAY, files), audit_gold.compare(lake, domain, DAY)):
        assert found.ok, (found.problems, found.not_checked)


def test_the_warehouse_takes_each_word_as_a_column(warehouse: WarehouseService) -> None:
    settings = settings_of(warehouse.env())
    gold = pa.table(
        {
            "end": [DAY],
            "interval": ["i"],
            "order": [1],
            **{word: ["x"] for word in IN_GOLD if word not in ("end", "interval")},
        }
    )
    with connect(settings, "test") as connection:
        for inserted in (1, 0):
            [loaded] = load_date(
                connection,
                database=settings.snowflake_database,
                schema="WORDS",
                domain="words",
                day=DAY,
                run_id="run",
                partitions=[GoldPartition("words", ("end", "interval"), gold)],
            )
            assert loaded.inserted == inserted


@pytest.mark.parametrize("name", sorted(NOT_A_COLUMN))
def test_what_the_warehouse_takes_for_a_function_is_no_column(name: str, tmp_path: Any) -> None:
    with pytest.raises(PermanentError, match=f"`{name}`"):
        ddl.name(name)
    (tmp_path / "gold.yaml").write_text(yaml.safe_dump({"t": {"description": "x", "columns": {"day": "x", name: "y"}}}))
    with pytest.raises(ConfigurationError, match=f"column `{name}` of `t` is a word of SQL"):
        load_gold_tables("words", tmp_path, {"t": ("day",)})
