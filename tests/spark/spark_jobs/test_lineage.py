"""The lineage of the four domains, against expectations written by hand and the tables that both engines wrote."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame

from platform_assets.assets import lineage as catalog_lineage
from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.plugin import BaseDomainAggregation
from spark_jobs.lineage import DomainLineage, LineageUnknownError, domain_lineage, of_domain
from tests.spark.conftest import Engine

SILVER = {
    "events": {
        "event_id": "event_id",
        "properties": "properties",
        "properties_json": "properties",
        "event_date": "event_date",
        "_offset": "_offset",
    },
    "orders": {"items": "items", "total": "total", "order_date": "order_date", "_ingested_at": "_ingested_at"},
    "restaurants": {"menu_items": "menu_items", "rating": "rating", "snapshot_date": "snapshot_date"},
    "users": {"email_masked": "email_masked", "tier": "tier", "_schema_id": "_schema_id"},
}

GOLD = {
    "events": {
        "event_date": "event_date",
        "event_hour": "event_timestamp",
        "city": "city",
        "users": "user_id",
        "sessions": "session_id",
        "events": "",
        "order_placed": "event_type",
    },
    "events_funnel": {
        "city": "city",
        "sessions": "session_id",
        "add_to_cart": "event_type",
        "order_placed_conversion": "event_type",
    },
    "orders": {
        "orders": "",
        "delivered": "status",
        "gross_revenue": "delivery_fee status subtotal",
        "discounts": "discount status",
        "net_revenue": "status total",
        "average_order_value": "status total",
        "items": "items status",
        "p95_delivery_minutes": "created_at delivered_at status",
    },
    "orders_by_restaurant": {
        "restaurant_id": "restaurant_id",
        "net_revenue": "status total",
        "cancelled": "status",
    },
    "restaurants": {
        "restaurants": "",
        "open_restaurants": "is_open",
        "average_rating": "rating",
        "menu_items": "menu_items",
        "average_price": "menu_items",
    },
    "users": {
        "tier": "tier",
        "changed_users": "",
        "new_users": "created_at",
        "active_users": "deleted_at is_active",
    },
}


def chosen(lineage: dict[str, set[str]], columns: dict[str, str]) -> dict[str, str]:
    return {name: " ".join(sorted(lineage[name])) for name in columns}


@pytest.fixture(params=sorted(SILVER))
def domain(request: pytest.FixtureRequest, catalog: Catalog) -> Domain:
    found: Domain = catalog[request.param]
    return found


def test_the_lineage_of_a_domain(engine: Engine, domain: Domain) -> None:
    found = domain_lineage(engine.spark, domain)
    assert chosen(found.silver, SILVER[domain.name]) == SILVER[domain.name]
    assert found.silver["record_hash"] == {column.name for column in domain.contract.columns}
    assert set(found.gold) == set(domain.gold.tables)
    for table, lineage in found.gold.items():
        assert chosen(lineage, GOLD[table]) == GOLD[table]


def test_every_column_of_every_table_has_its_lineage(engine: Engine, domain: Domain) -> None:
    found = domain_lineage(engine.spark, domain)
    silver = engine.lake.delta(engine.lake.silver(domain)).schema()
    assert set(found.silver) == {field.name for field in silver.fields}
    for table, lineage in found.gold.items():
        gold = engine.lake.delta(engine.lake.gold(domain, table)).schema()
        assert set(lineage) == {field.name for field in gold.fields}
        assert set(domain.gold_tables[table].columns) == set(lineage), "gold.yaml describes these columns"
        assert set().union(*lineage.values()) <= set(found.silver)


def test_the_server_is_not_asked(engine: Engine, domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    client = type(engine.spark.client)
    for call in ("_analyze", "_execute", "_execute_and_fetch_as_iterator", "get_configs"):
        monkeypatch.setattr(client, call, None)
    assert domain_lineage(engine.spark, domain).silver


class _Pivots(BaseDomainAggregation):
    def aggregate(self, df: DataFrame, cfg: Domain, dt: object) -> DataFrame:
        return df.groupBy("city").pivot("status", ["delivered"]).count()


def test_lineage_that_is_not_known_is_none_and_logged_once(
    engines: dict[str, Engine], catalog: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spark, orders = engines["sail"].spark, catalog["orders"]
    monkeypatch.setattr(catalog_lineage, "_known", {})
    monkeypatch.setattr(of_domain, "load_aggregation", lambda _domain: _Pivots())
    with pytest.raises(LineageUnknownError, match="pivot"):
        domain_lineage(spark, orders)
    assert [catalog_lineage.known_lineage(spark, orders) for _ in range(3)] == [None, None, None]
    assert [record.getMessage() for record in caplog.records] == ["lineage_unknown domain=orders"]


def test_lineage_is_derived_once_a_process(
    engines: dict[str, Engine], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark, orders = engines["sail"].spark, catalog["orders"]
    monkeypatch.setattr(catalog_lineage, "_known", {})
    first = catalog_lineage.known_lineage(spark, orders)
    assert isinstance(first, DomainLineage)
    assert catalog_lineage.known_lineage(spark, orders) is first
