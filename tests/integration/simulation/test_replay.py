"""A replayed history on real services: what Kafka has is what Postgres has, and life goes on from there."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from platform_core.errors import ConfigurationError, TransientError
from producers.postgres.database import connect
from producers.postgres.fence import Position
from simulation.history.replay import Plan, replay
from simulation.shop import seed, simulator
from simulation.shop.simulator import ShopSimulator
from simulation.world import World, WorldSize

END = date(2026, 3, 12)
SIZE = WorldSize(users=200, restaurants=10, menu_items=5, cities=3)
SIZE_OPTIONS = ("--users", "200", "--restaurants", "10", "--menu-items", "5", "--cities", "3")
EVENTS = 1_600


def rows(producers_rig: Any, statement: str) -> list[tuple[Any, ...]]:
    connection = producers_rig.connect()
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def documents(producers_rig: Any) -> dict[int, dict[str, Any]]:
    """The shop's orders as the poll would send them now."""
    reader = producers_rig.reader("orders", Position())
    return {row.key: orjson.loads(row.document) for page in reader.poll() for row in page}


@pytest.fixture
def replayed(provisioned: Any) -> tuple[Any, dict[str, Any]]:
    world = World(7, SIZE)
    summary = replay(provisioned.settings, provisioned.catalog, world, Plan.before(END, 2, EVENTS))
    return provisioned, summary


def test_kafka_ends_where_postgres_ends(replayed: tuple[Any, dict[str, Any]]) -> None:
    producers_rig, summary = replayed
    sent = producers_rig.records("orders")
    latest: dict[int, dict[str, Any]] = {}
    for record in sent:
        if record["order_id"] not in latest or record["updated_at"] > latest[record["order_id"]]["updated_at"]:
            latest[record["order_id"]] = record
    assert latest == documents(producers_rig)
    assert len(latest) == 2 * (EVENTS // 40)
    assert len(sent) == summary["domains"]["orders"]["produced"] > 2 * len(latest)
    assert Counter(r["created_at"][:10] for r in sent) == summary["domains"]["orders"]["by_date"]
    assert all(r["updated_at"] < f"{END}T00:00:00" for r in sent)
    pairs = Counter((r["order_id"], r["updated_at"]) for r in sent)
    assert max(pairs.values()) == 1
    flow = ["placed", "confirmed", "preparing", "ready", "picked_up", "delivered", "cancelled"]
    history = defaultdict(list)
    for record in sorted(sent, key=lambda r: r["updated_at"]):
        history[record["order_id"]].append(flow.index(record["status"]))
    assert all(steps == sorted(steps) for steps in history.values())

    open_orders = [r for r in latest.values() if r["status"] not in ("delivered", "cancelled")]
    assert all(r["created_at"] > f"{END - timedelta(days=1)}T12" for r in open_orders)
    for orphans in (
        "orders o LEFT JOIN users u USING (user_id) LEFT JOIN restaurants r USING (restaurant_id)"
        " WHERE u.name IS NULL OR r.name IS NULL",
        "order_items i LEFT JOIN menu_items m USING (menu_item_id) LEFT JOIN orders o USING (order_id)"
        " WHERE m.menu_item_id IS NULL OR o.order_id IS NULL",
        "orders o WHERE subtotal <>"
        " (SELECT sum(quantity * unit_price) FROM order_items i WHERE i.order_id = o.order_id)",
    ):
        assert rows(producers_rig, f"SELECT count(*) FROM {orphans}") == [(0,)]

    for record in producers_rig.records("events"):
        if record["order_id"] is not None:
            order = latest[record["order_id"]]
            assert (order["user_id"], order["restaurant_id"]) == (record["user_id"], record["restaurant_id"])


def test_master_data_ends_where_postgres_ends(replayed: tuple[Any, dict[str, Any]]) -> None:
    producers_rig, summary = replayed
    users = producers_rig.records("users")
    assert {u["extracted_at"][11:] for u in users} == {"23:55:00.000000Z"}
    assert Counter(u["extracted_at"][:10] for u in users) == summary["domains"]["users"]["by_date"]
    assert all(u["updated_at"][:10] == u["extracted_at"][:10] for u in users)
    assert all(u["email_masked"][1:5] == "***@" for u in users)
    in_kafka = {u["user_id"]: (u["city"], u["tier"], u["is_active"]) for u in users}
    changed = rows(
        producers_rig, f"SELECT user_id, city, tier, is_active FROM users WHERE updated_at >= '{END}'::date - 2"
    )
    assert in_kafka == {row[0]: row[1:] for row in changed}
    assert len(in_kafka) >= 4

    snapshots = producers_rig.records("restaurants")
    assert len(snapshots) == 2 * 24 * SIZE.restaurants
    assert len({s["snapshot_at"] for s in snapshots}) == 48
    last = {s["restaurant_id"]: s for s in snapshots if s["snapshot_at"] == "2026-03-11T23:00:00.000000Z"}
    assert {key: s["menu_items"][0]["price"] for key, s in last.items()} == {
        row[0]: str(row[1])
        for row in rows(producers_rig, "SELECT restaurant_id, price FROM menu_items WHERE menu_item_id % 100 = 1")
    }
    assert {s["is_open"] for s in snapshots} == {True, False}


def test_a_day_is_the_same_in_a_longer_history(replayed: tuple[Any, dict[str, Any]]) -> None:
    producers_rig, summary = replayed
    before = [m.value() for m in producers_rig.messages(producers_rig.catalog["events"].topic.name)]
    world = World(7, SIZE)
    again = replay(producers_rig.settings, producers_rig.catalog, world, Plan.before(END, 1, EVENTS, ["events"]))
    assert again["domains"]["events"]["by_date"] == {
        "2026-03-11": summary["domains"]["events"]["by_date"]["2026-03-11"]
    }
    after = Counter(m.value() for m in producers_rig.messages(producers_rig.catalog["events"].topic.name)) - Counter(
        before
    )
    assert after == Counter(v for v in before if b'"event_timestamp":"2026-03-11T' in (v or b""))


def test_history_may_go_on_and_may_be_repeated(replayed: tuple[Any, dict[str, Any]]) -> None:
    producers_rig, _ = replayed
    world = World(7, SIZE)
    next_day = Plan.before(END + timedelta(days=1), 1, EVENTS, ["orders", "users", "restaurants"])
    more = replay(producers_rig.settings, producers_rig.catalog, world, next_day)
    # Orders that were open at midnight are finished by the next day, as if there had been no pause.
    assert set(more["domains"]["orders"]["by_date"]) >= {"2026-03-12"}
    state = documents(producers_rig)
    assert all(
        o["status"] in ("delivered", "cancelled") for o in state.values() if o["created_at"] < "2026-03-12T00:00:00"
    )
    repeated = replay(producers_rig.settings, producers_rig.catalog, world, next_day)
    assert documents(producers_rig) == state
    assert repeated["domains"]["orders"]["produced"] > 0
    with pytest.raises(ConfigurationError, match="was replayed with 40 orders, and not 50"):
        replay(producers_rig.settings, producers_rig.catalog, world, Plan.before(END, 1, 2_000))
    with pytest.raises(ConfigurationError, match="another world"):
        replay(producers_rig.settings, producers_rig.catalog, World(8, SIZE), Plan.before(END, 1, EVENTS))


def test_live_sources_go_on_from_the_replay(
    replayed: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    producers_rig, _ = replayed
    # A deleted order is a record too, but not one of a step; test_producers_deletes has them.
    monkeypatch.setattr(simulator, "TEST_ORDERS_REMOVED_PER_DAY", 0.0)
    assert producers_rig.run("orders", "--once")["domains"]["orders"]["produced"] == 0
    connection = producers_rig.connect()
    living = ShopSimulator(connection, World(7, SIZE), speed=1.0)
    living.tick(datetime.now(UTC), 600.0)
    open_before = rows(
        producers_rig,
        f"SELECT count(*) FROM orders WHERE created_at < '{END}' AND status NOT IN ('delivered', 'cancelled')",
    )
    assert open_before == [(0,)]
    sent = producers_rig.run("orders", "--once")["domains"]["orders"]
    assert sent["produced"] == living.counts["orders_advanced"] + living.counts["orders_placed"]
    late = producers_rig.run("late", "--date", "2026-03-10", "--events", "7", "--orders", "5")
    assert len(set(late["events"]["event_ids"])) == 7
    assert {change["change"] for change in late["orders"]["changes"]} == {"refund"}
    assert producers_rig.run("orders", "--once")["domains"]["orders"] == {
        "produced": 5,
        "by_date": {"2026-03-10": 5},
        "refused": 0,
    }
    ids = {change["order_id"] for change in late["orders"]["changes"]}
    state = documents(producers_rig)
    latest = {r["order_id"]: r for r in sorted(producers_rig.records("orders"), key=lambda r: r["updated_at"])}
    assert {i: latest[i] for i in ids} == {i: state[i] for i in ids}
    assert producers_rig.run("restaurants", "--once")["domains"]["restaurants"]["produced"] == SIZE.restaurants
    before = len(producers_rig.records("users"))
    sent = producers_rig.run("users", "--once")["domains"]["users"]
    assert (sent["produced"], sent["refused"]) == (len(producers_rig.records("users")) - before, 0)


def test_live_processes_end_cleanly_on_sigterm(provisioned: Any) -> None:
    producers_rig = provisioned
    producers_rig.run("shop-init", *SIZE_OPTIONS)
    fast = {"CDC_POLL_INTERVAL_SECONDS": "0.2", "CLICKSTREAM_EVENTS_PER_SECOND": "200"}
    processes = {
        name: producers_rig.command(name, *more, **fast)
        for name, more in {"simulate-shop": ("--speed", "2000"), "clickstream": (), "orders": ()}.items()
    }
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(r["event_type"] == "order_placed" for r in producers_rig.records("events")):
            break
        time.sleep(0.5)
    for name in ("simulate-shop", "clickstream", "orders"):
        processes[name].send_signal(signal.SIGTERM)
        out, err = processes[name].communicate(timeout=30)
        assert processes[name].returncode == 0, err
        assert f'"command": "{name}"' in out
    producers_rig.run("orders", "--once")
    latest = {r["order_id"]: r for r in sorted(producers_rig.records("orders"), key=lambda r: r["updated_at"])}
    assert latest == documents(producers_rig)
    events = producers_rig.records("events")
    placed = [e for e in events if e["event_type"] in ("order_placed", "order_tracked")]
    assert placed
    for event in placed:
        assert latest[event["order_id"]]["user_id"] == event["user_id"]
    assert len({e["event_id"] for e in events}) == len(events)
    assert producers_rig.messages(f"dlq-{producers_rig.catalog['events'].topic.name}") == []


def test_postgres_errors_name_the_variable_and_hide_the_password(producers_rig: Any) -> None:
    dsn = producers_rig.settings.postgres_dsn.get_secret_value()
    head, _, tail = dsn.partition("@")
    wrong = producers_rig.settings.model_copy(
        update={"postgres_dsn": SecretStr(f"{head.rpartition(':')[0]}:hunter2@{tail}")}
    )
    with pytest.raises(ConfigurationError, match="POSTGRES_DSN") as caught:
        connect(wrong, application="test")
    assert "hunter2" not in str(caught.value)
    away = producers_rig.settings.model_copy(
        update={"postgres_dsn": SecretStr("postgresql://shop:hunter2@127.0.0.1:1/shop")}
    )
    with pytest.raises(TransientError, match="does not answer") as transient:
        connect(away, application="test")
    assert "hunter2" not in str(transient.value)


def test_an_owner_who_may_not_switch_triggers_off_may_replay(provisioned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    producers_rig = provisioned
    # Refused with the same error as the setting is to a user without the right to set it.
    monkeypatch.setattr(seed, "TRIGGERS_OFF", "SET LOCAL ROLE pg_read_all_settings")
    replay(producers_rig.settings, producers_rig.catalog, World(7, SIZE), Plan.before(END, 1, 400))
    assert rows(producers_rig, "SELECT count(*), max(updated_at) < '2026-03-12' FROM orders") == [(10, True)]
    assert rows(producers_rig, "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'") == [(0,)]
