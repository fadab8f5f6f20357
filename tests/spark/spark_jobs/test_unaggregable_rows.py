"""An aggregation that an engine cannot evaluate names the group, and the record when one alone is to blame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from platform_core.domain.catalog import Catalog, Domain
from platform_core.errors import PermanentError
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.writing import tables
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY
from tests.spark.conftest import Engine


class Summing:
    """An aggregation of one table, whose sum must fit into seven digits before the point."""

    def aggregate(self, df: DataFrame, cfg: Domain, dt: Any) -> dict[str, DataFrame]:
        total = F.sum("total").cast("decimal(9,2)").alias("net_revenue")
        return {table: df.groupBy(*keys).agg(total) for table, keys in cfg.gold.tables.items()}


@pytest.fixture
def sail(engines: dict[str, Engine], tmp_path: Path) -> Engine:
    """Sail alone, with a lake of the test's own: it costs a tenth of Spark."""
    base = engines["sail"]
    return Engine(base.name, base.remote, base.spark, Lake(Settings(lake_uri=str(tmp_path / "lake"))))


def into_silver(engine: Engine, orders: Domain, cities: dict[str, str]) -> bronze_to_silver.SilverResult:
    """Write an order for each total and city, one offset after the other."""
    records = [
        bronze_days.Record(
            bronze_days.order(n, "delivered", total, fee="0.00", city=city), partition=0, offset=1000 + n
        )
        for n, (total, city) in enumerate(cities.items())
    ]
    files = bronze_days.write(engine.lake, orders, DAY, records, files=1)
    return bronze_to_silver.run(engine.spark, engine.lake, orders, DAY, files)


def refusal(engine: Engine, orders: Domain) -> str:
    with pytest.raises(PermanentError, match="`orders`, date 2026-11-20: the aggregation cannot take") as caught:
        silver_to_gold.run(engine.spark, engine.lake, orders, DAY)
    assert not tables.exists(engine.lake, engine.lake.gold(orders, "orders"))
    return caught.value.message


def test_the_group_and_the_record_that_is_to_blame_are_named(
    empty_engine: Engine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silver_to_gold, "load_aggregation", lambda _: Summing())
    cities = {"1.00": "Oslo", "9999999.99": "Bergen", "2.00": "Rome", "10000000.00": "Rome", "3.00": "Rome"}
    into_silver(empty_engine, catalog["orders"], cities)
    message = refusal(empty_engine, catalog["orders"])
    assert "Gold table `orders`, group city=Rome, currency=EUR, record raw-orders:0:1003. Nothing" in message


def test_the_group_is_named_when_its_records_are_too_much_together(
    sail: Engine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silver_to_gold, "load_aggregation", lambda _: Summing())
    into_silver(sail, catalog["orders"], {"1.00": "Oslo", "9000000.00": "Rome", "9000001.00": "Rome"})
    assert "Gold table `orders`, group city=Rome, currency=EUR. Nothing" in refusal(sail, catalog["orders"])


def test_absurd_amounts_never_reach_gold(sail: Engine, catalog: Catalog) -> None:
    totals = ["10000000.00", "10000000.01", "-10000000.01", "9999999999.99", "12.00"]
    result = into_silver(sail, catalog["orders"], dict.fromkeys(totals, "Oslo"))
    assert (result.silver_rows, result.quarantined) == (2, {"amounts_plausible": 3})
