"""What `make demo` claims, recomputed from outside by programs that wrote none of it."""

from __future__ import annotations

import json
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from platform_assets.resources.warehouse import Warehouse
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY
from tests.rigs.ui.finished_demo import DAYS, EVENTS_PER_DAY, FinishedDemo

DOMAINS = ("events", "orders", "restaurants", "users")
SILVER_KEYS = {
    "events": ("event_date", "event_id"),
    "orders": ("order_date", "order_id"),
    "restaurants": ("snapshot_date", "restaurant_id"),
    "users": ("snapshot_date", "user_id"),
}


def bronze(demo: FinishedDemo, domain: str) -> str:
    return f"read_parquet('{demo.report['lake']}/bronze/{domain}/*/*.parquet', hive_partitioning = true)"


def delta(demo: FinishedDemo, name: str) -> Any:
    return DeltaTable(f"{demo.report['lake']}/{name}").to_pyarrow_table()


def warehouse(sql: str) -> list[tuple[Any, ...]]:
    with Warehouse().connect("test") as connection:
        rows: list[tuple[Any, ...]] = connection.cursor().execute(sql).fetchall()
    return rows


def test_nothing_was_lost_and_every_partition_is_done(demo: FinishedDemo) -> None:
    report = demo.report
    assert report["passed"], demo.output.read_text()
    assert {name: entry["lost"] for name, entry in report["domains"].items()} == dict.fromkeys(DOMAINS, 0)
    assert len(report["partitions"]) == DAYS * 4
    assert {entry["status"] for entry in report["partitions"]} == {"DONE"}
    assert set(report["seconds"]) >= {"services", "replay", "ingest", "process", "late", "account", "total"}


def test_the_counts_are_those_that_were_asked_for(demo: FinishedDemo) -> None:
    events = demo.report["domains"]["events"]
    unique = DAYS * EVENTS_PER_DAY + 500  # the late ones
    assert events["silver_rows"] + events["quarantined"] == unique
    assert events["duplicates"] == events["produced"] - unique
    assert events["duplicates"] > 0
    assert events["quarantined"] > 0


def test_bronze_read_by_duckdb_gives_the_same_silver(demo: FinishedDemo) -> None:
    for domain, key in SILVER_KEYS.items():
        entry = demo.report["domains"][domain]
        columns = ", ".join(key)
        [(rows, offsets, keys)] = duckdb.sql(
            f"select count(*), count(distinct (_topic, _partition, _offset)), count(distinct ({columns}))"
            f" from {bronze(demo, domain)}"
        ).fetchall()
        assert (rows, offsets) == (entry["bronze_rows"], entry["bronze_offsets"]) == (entry["kafka"], entry["kafka"])
        assert keys == entry["silver_rows"] + entry["quarantined"]
        assert delta(demo, f"silver/{domain}").num_rows == entry["silver_rows"]
        assert delta(demo, f"silver/{domain}_quarantine").num_rows == entry["quarantined"]
        assert entry["produced"] <= entry["kafka"]
        assert entry["duplicates"] == rows - entry["silver_rows"] - entry["quarantined"]


def test_silver_has_each_order_as_the_shop_has_it(demo: FinishedDemo) -> None:
    """Deleted orders count on neither side: one that was deleted for real is in Silver, marked, and not in Postgres."""
    names = ["order_id", "status", "total", "updated_at"]
    rows = delta(demo, "silver/orders")
    silver = {row["order_id"]: row for row in rows.filter(pc.is_null(rows["deleted_at"])).select(names).to_pylist()}
    with psycopg2.connect(demo.report["postgres"]) as connection, connection.cursor() as cursor:
        cursor.execute("select order_id, status, total, updated_at from orders where deleted_at is null")
        shop = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
    assert len(shop) > 0
    assert [
        (key, shop.get(key), silver.get(key)) for key in shop.keys() | silver if shop.get(key) != silver.get(key)
    ] == []


def test_revenue_is_equal_to_the_cent_everywhere(demo: FinishedDemo, demo_settings: None) -> None:
    from_bronze = duckdb.sql(
        f"""with latest as (select * from {bronze(demo, "orders")}
              qualify row_number() over (partition by order_id order by updated_at desc, _offset desc) = 1)
            select cast(order_date as varchar), sum(total) from latest
            where status <> 'cancelled' and deleted_at is null group by 1 order by 1"""
    ).fetchall()
    with psycopg2.connect(demo.report["postgres"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select (created_at at time zone 'UTC')::date::text, sum(total) from orders"
            " where status <> 'cancelled' and deleted_at is null group by 1 order by 1"
        )
        from_postgres = cursor.fetchall()
    gold = delta(demo, "gold/orders")  # noqa: F841 - DuckDB reads it by name
    from_gold = duckdb.sql(
        "select cast(order_date as varchar), sum(net_revenue) from gold group by 1 order by 1"
    ).fetchall()
    from_warehouse = [
        (str(day), Decimal(str(total)))
        for day, total in warehouse(
            "SELECT ORDER_DATE, SUM(NET_REVENUE::NUMBER(38,2)) FROM ANALYTICS.ORDERS.ORDERS GROUP BY 1 ORDER BY 1"
        )
    ]
    assert len(from_bronze) == DAYS
    assert from_bronze == from_postgres == from_gold == from_warehouse


def test_gold_events_recomputed_from_bronze(demo: FinishedDemo, demo_settings: None) -> None:
    quarantined = delta(demo, "silver/events_quarantine")  # noqa: F841 - DuckDB reads it by name
    recomputed = duckdb.sql(
        f"""with good as (
              select b.* from {bronze(demo, "events")} b
              anti join quarantined q on b._partition = q."partition" and b._offset = q."offset"),
            once as (select * from good
              qualify row_number() over (partition by event_id order by _offset desc) = 1)
            select coalesce(city, 'unknown'), device_type, count(*), count(distinct user_id)
            from once group by 1, 2 order by 1, 2"""
    ).fetchall()
    rows = warehouse("SELECT CITY, DEVICE_TYPE, SUM(EVENTS) FROM ANALYTICS.EVENTS.EVENTS GROUP BY 1, 2 ORDER BY 1, 2")
    assert [(c, d, n) for c, d, n, _ in recomputed] == [(c, d, int(n)) for c, d, n in rows]


def test_every_gold_row_is_in_the_warehouse(demo: FinishedDemo, demo_settings: None) -> None:
    for domain in load_catalog(REPOSITORY / "domains" / "domains.yaml"):
        entry, tables = demo.report["domains"][domain.name], domain.gold.tables
        gold_rows = sum(delta(demo, f"gold/{table}").num_rows for table in tables)
        loaded_rows = sum(
            int(warehouse(f"SELECT COUNT(*) FROM ANALYTICS.{domain.warehouse_schema}.{table.upper()}")[0][0])
            for table in tables
        )
        assert gold_rows == loaded_rows == entry["gold_rows"] == entry["warehouse_rows"] > 0
    gold = delta(demo, "gold/orders_by_restaurant").to_pylist()
    loaded = warehouse(
        "SELECT ORDER_DATE, RESTAURANT_ID, ORDERS, NET_REVENUE FROM ANALYTICS.ORDERS.ORDERS_BY_RESTAURANT"
    )
    assert {(str(r["order_date"]), r["restaurant_id"], r["orders"], r["net_revenue"]) for r in gold} == {
        (str(day), int(restaurant), int(orders), Decimal(str(revenue))) for day, restaurant, orders, revenue in loaded
    }


def test_the_late_date_was_corrected_by_itself(demo: FinishedDemo) -> None:
    late = demo.report["late"]
    assert int(late["after"]["gold_events"]) - int(late["before"]["gold_events"]) == 500
    for name in ("events", "net_revenue", "delivered"):
        assert Decimal(late["after"][f"gold_{name}"]) == Decimal(late["after"][f"warehouse_{name}"])
    for entry in demo.report["partitions"]:
        touched = entry["domain"] in ("events", "orders") and entry["date"] == late["date"]
        expected = ["PENDING", "IN_FLIGHT", "DONE"]
        if touched:
            expected += ["LATE", "REPROCESSING", "IN_FLIGHT", "DONE"]
        assert [s for s in entry["transitions"] if s not in ("FAILED", "RETRYING")][: len(expected)] == expected


def test_no_secret_is_in_a_log(demo: FinishedDemo) -> None:
    secrets = [v for k, v in demo.env.items() if "PASSWORD" in k]
    assert len(secrets) >= 3
    files = [p for p in Path(demo.report["lake"]).parent.rglob("*.log") if p.is_file()]
    assert len(files) > 5
    for path in [*files, demo.output]:
        text = path.read_text(errors="replace")
        assert not [s for s in secrets if s in text], path


def test_the_report_is_private_and_is_the_one_on_disk(demo: FinishedDemo) -> None:
    path = REPOSITORY / ".platform" / "demo" / "report.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == demo.report


@pytest.mark.parametrize("word", ["PASSED", "0 records lost", "Which cities earn most?", "corrected in"])
def test_a_person_reads_the_result(demo: FinishedDemo, word: str) -> None:
    assert word in demo.output.read_text()
