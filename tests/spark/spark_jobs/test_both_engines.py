"""The same Bronze through Spark and through Sail, compared with each other and with independent arithmetic."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from decimal import Decimal

import duckdb
import pytest

from platform_core.domain.catalog import Catalog
from platform_core.domain.contract import ColumnType
from spark_jobs import bronze_to_silver, silver_to_gold
from spark_jobs.judging import odd_keys
from spark_jobs.reading import working_copy
from spark_jobs.writing.gold_merge import MergeCounts
from tests.rigs.lake import bronze_days
from tests.rigs.lake.bronze_days import DAY, OTHER_DAY
from tests.rigs.lake.delta_rows import rows, types, version
from tests.spark.conftest import Engine

DOMAINS = ("events", "orders", "restaurants", "users")


@pytest.mark.parametrize("name", DOMAINS)
def test_engines_write_the_same_rows_and_types(filled: dict[str, Engine], catalog: Catalog, name: str) -> None:
    domain = catalog[name]
    spark, sail = filled["spark"].lake, filled["sail"].lake
    tables = [spark.silver(domain), spark.quarantine(domain)]
    tables += [spark.gold(domain, table) for table in domain.gold.tables]
    for table in tables:
        assert rows(spark, table), table
        assert rows(spark, table) == rows(sail, table), table
        assert types(spark, table) == types(sail, table), table
        assert list(types(spark, table))[-1] == domain.partition_key or "/gold" not in table


@pytest.mark.parametrize("name", DOMAINS)
def test_every_bronze_row_is_accounted_for(engine: Engine, catalog: Catalog, name: str) -> None:
    domain, result = catalog[name], engine.silver[name]
    records = bronze_days.RECORDS[name]()
    assert result.bronze_rows == len(records)
    assert result.distinct_offsets == len({(record.partition, record.offset) for record in records})
    assert result.bronze_rows == result.silver_rows + result.offset_duplicates + result.key_duplicates + sum(
        result.quarantined.values()
    )
    assert result.silver_rows == len(rows(engine.lake, engine.lake.silver(domain), domain.partition_key, DAY))
    quarantine = rows(engine.lake, engine.lake.quarantine(domain), domain.partition_key, DAY)
    assert sum(result.quarantined.values()) == len(quarantine)


def test_bad_rows_are_quarantined_with_every_reason_and_the_whole_record(engine: Engine, catalog: Catalog) -> None:
    domain = catalog["events"]
    assert engine.silver["events"].quarantined == {
        "in_partition": 1,
        "known_device_type": 1,
        "known_event_type": 2,
        "order_has_an_id": 1,
        "primary_key_present": 1,
        "properties_readable": 1,
    }
    found = {row["record"].get("event_id"): row for row in rows(engine.lake, engine.lake.quarantine(domain))}
    both = found["x2"]
    assert both["rule"] == "known_event_type"
    assert both["reason"] == (
        "known_event_type: the event type is not one of the eleven; "
        "known_device_type: the device type is not ios, android or web"
    )
    [original] = [r for r in bronze_days.events() if r.values["event_id"] == "x2"]
    assert (both["topic"], both["partition"], both["offset"], both["schema_id"]) == (
        "raw-events",
        original.partition,
        original.offset,
        7,
    )
    record = both["record"]
    assert record["event_timestamp"] == "2026-11-20T06:00:00.123456Z"
    assert record["city"] == "Zürich 🏔" and record["user_id"] == 1 and record["_offset"] == original.offset
    assert "order_id" not in record
    money = {row["record"]["order_id"]: row for row in rows(engine.lake, engine.lake.quarantine(catalog["orders"]))}
    assert money[2]["record"]["total"] == "99.00" and money[2]["rule"] == "total_adds_up"
    assert {order: row["rule"] for order, row in money.items()} == {
        2: "total_adds_up",
        54: "known_currency",
        55: "known_currency",
        56: "known_currency",
        60: "known_status",
        61: "items_readable",
        62: "items_readable",
        63: "items_readable",
        64: "not_updated_before_creation",
        65: "in_partition",
        66: "delivered_after_creation",
        67: "delivered_after_creation",
        70: "version_not_ahead",
        71: "total_adds_up",
    }


@pytest.mark.parametrize("name", DOMAINS)
def test_record_hash_is_sha256_of_length_prefixed_columns(engine: Engine, catalog: Catalog, name: str) -> None:
    domain = catalog[name]
    expected = set()
    for record in bronze_days.RECORDS[name]():
        text = ""
        for column in domain.contract.columns:
            value = record.values[column.name]
            if isinstance(value, datetime):
                value = round((value - datetime.fromisoformat("1970-01-01T00:00:00+00:00")).total_seconds() * 1_000_000)
            elif isinstance(value, bool):
                value = str(value).lower()
            elif column.type is ColumnType.DECIMAL and value is not None:
                value = value.quantize(Decimal(1).scaleb(-column.scale))
            text += "-" if value is None else f"{len(str(value))}:{value}"
        expected.add(hashlib.sha256(text.encode()).hexdigest())
    silver = rows(engine.lake, engine.lake.silver(domain), domain.partition_key, DAY)
    assert {row["record_hash"] for row in silver} <= expected


def test_latest_version_wins_and_the_later_offset_breaks_a_tie(engine: Engine, catalog: Catalog) -> None:
    found = {row["order_id"]: row for row in rows(engine.lake, engine.lake.silver(catalog["orders"]))}
    assert found[1]["status"] == "delivered"  # not the version that arrived late
    assert not {2, 71} & set(found)  # the latest version, of 71 a tombstone, was quarantined
    assert engine.silver["orders"].withheld == 2
    assert found[70]["status"] == "cancelled"  # not the version of the year 9999
    assert found[7]["discount"] == Decimal("0.34")  # the later offset of two with one updated_at
    assert found[5]["_ingested_at"] == bronze_days.at(30)  # the first copy of two
    assert found[900]["deleted_at"] is None  # its file has no such column
    assert [(item["quantity"], item["unit_price"]) for item in found[50]["items"]] == [
        (2, Decimal("1.10")),
        (1, Decimal("9999999.99")),
    ]
    events = {row["event_id"]: row for row in rows(engine.lake, engine.lake.silver(catalog["events"]))}
    parsed = {"query": 'piña "x"', "menu_item_id": 7, "quantity": 99999999999, "payment_method": None}
    assert events["e0"]["properties"] == parsed
    assert json.loads(events["e0"]["properties_json"])["new"] == 1.5


def test_an_address_that_nobody_has_masked_stays_in_bronze(engine: Engine, catalog: Catalog) -> None:
    domain = catalog["events"]
    [odd] = [row for row in rows(engine.lake, engine.lake.silver(domain)) if row["event_id"] == "e0"]
    assert odd["_extra"] == '{"campaign":"ü","email":"j***@example.com"}'
    texts = json.loads(odd["properties_json"])
    assert (texts["to"], texts["escaped"], texts["at"]) == ("Jane, j***@example.com", "j***@example.com", "a @ b")
    people = rows(engine.lake, engine.lake.quarantine(catalog["users"]))
    assert {row["record"]["email_masked"] for row in people if row["rule"] == "email_masked"} == {"p***@example.com"}
    kept = [row for name in DOMAINS for row in rows(engine.lake, engine.lake.quarantine(catalog[name]))]
    assert "jane.roe" not in repr([odd, kept])


def test_orders_agree_with_duckdb_to_the_cent(engine: Engine, catalog: Catalog) -> None:
    domain = catalog["orders"]
    files = f"{engine.lake.path(engine.lake.bronze_partition(domain, DAY))}/part-20261120T00*.parquet"
    duck = duckdb.connect()
    duck.execute("set timezone = 'UTC'")
    duck.execute(
        f"""create table latest as
        select * from (
          select * from read_parquet('{files}') where created_at::date = date '{DAY}' and updated_at < date '9000-01-01'
          qualify row_number() over (partition by order_id order by updated_at desc, _offset desc, _partition desc) = 1
        )
        where status in ('placed', 'confirmed', 'preparing', 'ready', 'picked_up', 'delivered', 'cancelled')
          and items like '[_%' and items not like '[]%' and items not like '%abc%'
          and total = subtotal + delivery_fee - discount and updated_at >= created_at and currency in ('EUR', 'JPY')
          and coalesce(delivered_at, created_at) between created_at and created_at + interval 30 days"""
    )
    expected = duck.execute(
        """select city, currency, count(*),
             sum(subtotal + delivery_fee) filter (status <> 'cancelled'), sum(total) filter (status <> 'cancelled'),
             median(epoch_us(delivered_at) - epoch_us(created_at)) filter (status = 'delivered') / 6e7,
             quantile_cont(epoch_us(delivered_at) - epoch_us(created_at), 0.95) filter (status = 'delivered') / 6e7
           from latest where deleted_at is null group by city, currency"""
    ).fetchall()
    assert duck.execute("select count(*) from latest").fetchall() == [(engine.silver["orders"].silver_rows,)]
    gold = {
        (row["city"], row["currency"]): row
        for row in rows(engine.lake, engine.lake.gold(domain, "orders"), "order_date", DAY)
    }
    assert set(gold) == {(city, currency) for city, currency, *_ in expected}
    assert gold["Oslo", "JPY"]["net_revenue"] == Decimal("500002.50") > gold["Oslo", "EUR"]["net_revenue"]
    for city, currency, count, gross, net, median, p95 in expected:
        row = gold[city, currency]
        assert (row["orders"], row["gross_revenue"], row["net_revenue"]) == (count, gross or 0, net or 0)
        for exact, found in ((median, row["median_delivery_minutes"]), (p95, row["p95_delivery_minutes"])):
            assert found is exact is None or abs(float(found) - exact) <= 0.005 + 1e-9
        earning = row["orders"] - row["cancelled"]
        if earning:
            assert abs(row["average_order_value"] * earning - row["net_revenue"]) <= Decimal("0.005") * earning
        else:
            assert row["average_order_value"] is None
    by_restaurant = rows(engine.lake, engine.lake.gold(domain, "orders_by_restaurant"), "order_date", DAY)
    for column in ("orders", "delivered", "cancelled", "gross_revenue", "net_revenue", "items"):
        assert sum(row[column] for row in by_restaurant) == sum(row[column] for row in gold.values()), column


def test_gold_of_the_other_domains_by_hand(engine: Engine, catalog: Catalog) -> None:
    funnel = {row["city"]: row for row in rows(engine.lake, engine.lake.gold(catalog["events"], "events_funnel"))}
    oslo = funnel["Oslo"]
    assert set(funnel) == {"Oslo", "Zürich 🏔", "unknown", ""}
    assert (oslo["sessions"], oslo["app_open"], oslo["restaurant_view"], oslo["add_to_cart"]) == (2, 1, 0, 0)
    assert oslo["restaurant_view_conversion"] == Decimal("0.000000") and oslo["add_to_cart_conversion"] is None
    assert funnel["unknown"]["add_to_cart"] == 1 and funnel["unknown"]["total_conversion"] == Decimal("0.000000")
    assert funnel[""]["sessions"] == 1 and funnel[""]["total_conversion"] is None
    assert funnel["Zürich 🏔"]["total_conversion"] == Decimal("1.000000")
    hours = rows(engine.lake, engine.lake.gold(catalog["events"], "events"))
    assert sum(row["events"] for row in hours) == engine.silver["events"].silver_rows
    [web] = [row for row in hours if row["device_type"] == "web"]
    assert (web["city"], web["event_hour"], web["events"], web["users"], web["sessions"]) == ("unknown", 2, 3, 1, 1)
    assert (web["app_open"], web["restaurant_view"], web["add_to_cart"], web["order_placed"]) == (1, 1, 1, 0)
    menus = rows(engine.lake, engine.lake.gold(catalog["restaurants"], "restaurants"))
    food = {row["cuisine"]: row for row in menus if row["currency"] == "EUR"}
    # Restaurants 1 (rating 3, three items), 2 (closed, no menu) and 5 (4.36, one item at 9.995, which is 10.00).
    assert (food["thai"]["restaurants"], food["thai"]["open_restaurants"], food["thai"]["menu_items"]) == (3, 2, 4)
    assert food["thai"]["average_rating"] == Decimal("3.68")
    assert food["thai"]["average_price"] == Decimal("3.76")  # 15.02 / 4 = 3.755, half up
    assert engine.silver["restaurants"].quarantined["known_currency"] == 1
    [yen] = [row for row in menus if row["currency"] == "JPY"]
    assert (yen["cuisine"], yen["restaurants"], yen["average_price"]) == ("thai", 1, Decimal("900.00"))
    assert food["pizza"]["average_rating"] is None and food["pizza"]["average_price"] is None
    people = {(row["city"], row["tier"]): row for row in rows(engine.lake, engine.lake.gold(catalog["users"], "users"))}
    berlin, rome = people["Berlin", "gold"], people["Rome", "gold"]
    assert (berlin["changed_users"], berlin["new_users"], berlin["active_users"]) == (4, 1, 2)
    assert people["Babylon", "gold"]["changed_users"] == 2 and people["Babylon", "gold"]["active_users"] == 1
    assert (rome["changed_users"], rome["new_users"], rome["active_users"]) == (1, 1, 1)


def test_another_file_order_and_a_second_run_in_the_ways_of_a_large_date_change_no_row(
    engine: Engine, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain, lake = catalog["orders"], engine.lake
    monkeypatch.setattr(working_copy, "SMALL_FILE_ROWS", 0)
    monkeypatch.setattr(odd_keys, "FEW_ROWS", 0)
    monkeypatch.setattr(bronze_to_silver, "FEW_BAD_ROWS", 0)
    monkeypatch.setattr(bronze_to_silver, "FEW_SILVER_ROWS", 0)
    names = [lake.silver(domain), lake.quarantine(domain), *(lake.gold(domain, t) for t in domain.gold.tables)]
    before = {name: rows(lake, name) for name in names}
    files = bronze_days.write(lake, domain, DAY, bronze_days.orders(), files=5, seed=1)
    commits = version(lake, lake.silver(domain))
    result = bronze_to_silver.run(engine.spark, lake, domain, DAY, list(reversed(files)))
    gold = silver_to_gold.run(engine.spark, lake, domain, DAY)
    assert version(lake, lake.silver(domain)) == commits + 1  # removed and added in one commit
    assert {name: rows(lake, name) for name in names} == before
    assert result.quarantined == engine.silver["orders"].quarantined
    assert gold.changes == dict.fromkeys(domain.gold.tables, MergeCounts())
    assert gold.rows == engine.gold["orders"].rows


def test_a_vanished_group_vanishes_and_other_dates_stay(engine: Engine, catalog: Catalog) -> None:
    domain, lake = catalog["orders"], engine.lake
    names = [lake.silver(domain), *(lake.gold(domain, table) for table in domain.gold.tables)]
    others = {name: rows(lake, name, "order_date", OTHER_DAY) for name in names}
    assert all(others.values())
    # Its lines were deleted before it: a tombstone without any is not set aside, or the live version would win.
    gone = {"items": "[]", "deleted_at": bronze_days.at(22)}
    deleted = bronze_days.Record(
        bronze_days.order(50, "placed", "9999999.99", fee="0.00", updated=22, city="Reykjavík", **gone),
        offset=5000,
    )
    files = [f.name for f in lake.list_bronze(domain)[DAY] if "T00" in f.name]
    files += bronze_days.write(lake, domain, DAY, [deleted], files=1, seed=2)
    bronze_to_silver.run(engine.spark, lake, domain, DAY, files)
    gold = silver_to_gold.run(engine.spark, lake, domain, DAY)
    assert gold.changes["orders"] == MergeCounts(inserted=0, updated=0, deleted=1)
    assert "Reykjavík" not in {row["city"] for row in rows(lake, lake.gold(domain, "orders"), "order_date", DAY)}
    assert {name: rows(lake, name, "order_date", OTHER_DAY) for name in names} == others

    nothing = bronze_to_silver.run(engine.spark, lake, domain, DAY, [])
    emptied = silver_to_gold.run(engine.spark, lake, domain, DAY)
    assert (nothing.bronze_rows, nothing.silver_rows, nothing.quarantined) == (0, 0, {})
    assert emptied.rows == {"orders": 0, "orders_by_restaurant": 0}
    for name in [*names, lake.quarantine(domain)]:
        assert rows(lake, name, "order_date", DAY) == []
    assert {name: rows(lake, name, "order_date", OTHER_DAY) for name in names} == others
