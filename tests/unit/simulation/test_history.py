"""The history: reproducible, self-consistent, and inside its contract."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest

from platform_core.domain.catalog import Catalog
from platform_kafka.formats.wire_format import HEADER_BYTES, header
from platform_kafka.registry import compile_contract
from producers.clickstream.funnel import DEVICES, EVENT_TYPES
from simulation.history.clicks_day import make_clicks, make_late_clicks
from simulation.history.encoding import encode
from simulation.history.orders_day import CANCELLED, DELIVERED, make_orders, orders_for, steps_between
from simulation.history.randomness import DAY_US
from simulation.world import World, WorldSize

EVENTS = 6_000
GOLDEN = "3549fc85e97b359b7c6624bee5b172701715ae9c7ade0fe82a2f39e8902628b9"
GOLDEN_ORDERS = "0bc20a5fbfae7a2cdfa64daa95b90e5e0aeaaab860b01e26646fca0b2bdab228"

Event = dict[str, Any]


def values_of(world: World, day: date, events: int = EVENTS) -> list[bytes]:
    clicks = make_clicks(world, make_orders(world, day, orders_for(events)), events)
    return [value for _, values in encode(world, clicks) for value in values]


def digest(world: World, day: date) -> str:
    return hashlib.sha256(b"\n".join(values_of(world, day))).hexdigest()


@pytest.fixture(scope="module")
def events(world: World) -> list[Event]:
    return [orjson.loads(value) for value in values_of(world, date(2026, 3, 10))]


@pytest.fixture(scope="module")
def unique(events: list[Event]) -> list[Event]:
    return list({event["event_id"]: event for event in events}.values())


def is_valid(event: Event) -> bool:
    return (
        event["event_type"] in EVENT_TYPES
        and event["device_type"] in DEVICES
        and (event["event_type"] not in ("order_placed", "order_tracked") or event["order_id"] is not None)
    )


def test_a_day_never_changes(world: World, day: date) -> None:
    # A new digest means that every history made before is another one: say so in CHANGELOG.md.
    assert digest(world, day) == GOLDEN
    orders = make_orders(world, day, 100)
    assert hashlib.sha256(orders.step_us.tobytes() + orders.subtotal_cents.tobytes()).hexdigest() == GOLDEN_ORDERS


def test_a_day_depends_on_no_other_day(day: date) -> None:
    size = WorldSize(users=300, restaurants=24, menu_items=8, cities=4)
    alone = digest(World(7, size), day)
    after_others = World(7, size)
    for offset in (-3, 5, -1):
        digest(after_others, day + timedelta(days=offset))
    assert digest(after_others, day) == alone
    assert digest(World(8, size), day) != alone
    assert digest(World(7, size), day + timedelta(days=1)) != alone


@pytest.mark.parametrize("count", [0, 1, 39, 500, 3_333])
def test_the_number_of_events_is_exact(world: World, day: date, count: int) -> None:
    clicks = make_clicks(world, make_orders(world, day, orders_for(count)), count)
    ids = [orjson.loads(value)["event_id"] for _, values in encode(world, clicks) for value in values]
    assert len(set(ids)) == count
    assert len(ids) == count + clicks.duplicates


def test_every_event_keeps_the_contract(catalog: Catalog, events: list[Event]) -> None:
    contract = compile_contract(catalog["events"], 1)
    assert [contract.violation(event) for event in events if contract.violation(event)] == []
    assert {tuple(event) for event in events} == {tuple(catalog["events"].contract.by_name)}


def test_framing_and_keys(world: World, day: date) -> None:
    clicks = make_clicks(world, make_orders(world, day, 5), 500)
    for keys, values in encode(world, clicks, header(70_000)):
        for key, value in zip(keys, values, strict=True):
            assert value[:HEADER_BYTES] == b"\x00\x00\x01\x11\x70"
            assert key == str(orjson.loads(value[HEADER_BYTES:])["user_id"]).encode()


def test_events_lie_within_the_day_in_order(events: list[Event], day: date) -> None:
    times = [datetime.fromisoformat(event["event_timestamp"]) for event in events]
    assert {time.date() for time in times} == {day}
    assert all(event["event_timestamp"][19] == "." and event["event_timestamp"].endswith("Z") for event in events)
    seen: set[str] = set()
    fresh = []
    for moment, event in zip(times, events, strict=True):
        if event["event_id"] not in seen:
            fresh.append(moment)
        seen.add(event["event_id"])
    assert fresh == sorted(fresh)


def test_redelivered_events_are_the_same_bytes(world: World, day: date) -> None:
    values = values_of(world, day)
    by_id = defaultdict(list)
    for value in values:
        by_id[orjson.loads(value)["event_id"]].append(value)
    repeated = [group for group in by_id.values() if len(group) > 1]
    assert len(repeated) == round(EVENTS * 0.002)
    assert all(len(set(group)) == 1 for group in repeated)
    assert all(is_valid(orjson.loads(group[0])) for group in repeated)


def test_broken_events_are_counted(world: World, day: date) -> None:
    clicks = make_clicks(world, make_orders(world, day, 400), 60_000)
    found = [orjson.loads(value) for _, values in encode(world, clicks) for value in values]
    assert clicks.invalid == 12
    assert sum(not is_valid(event) for event in found) == clicks.invalid


def test_order_events_tell_of_the_orders_of_that_user(world: World, unique: list[Event], day: date) -> None:
    orders = make_orders(world, day, orders_for(EVENTS))
    known = {
        int(i): (int(u) + 1, int(r) + 1)
        for i, u, r in zip(orders.order_id, orders.user, orders.restaurant, strict=True)
    }
    told = [event for event in unique if event["order_id"] is not None]
    assert {event["event_type"] for event in told} == {"order_placed", "order_tracked"}
    for event in told:
        assert known[event["order_id"]] == (event["user_id"], event["restaurant_id"])
    placed = Counter(event["order_id"] for event in told if event["event_type"] == "order_placed")
    assert placed == Counter(known.keys())


def test_visits_refer_to_what_exists(world: World, unique: list[Event], day: date) -> None:
    state = world.users_state(day)
    by_session = defaultdict(list)
    for event in unique:
        by_session[event["session_id"]].append(event)
        assert 1 <= event["user_id"] <= world.size.users
        assert event["city"] == world.cities[state.city[event["user_id"] - 1]]
        if event["restaurant_id"] is not None:
            assert world.cities[world.restaurant_city[event["restaurant_id"] - 1]] == event["city"]
        if item := event["properties"].get("menu_item_id"):
            assert item // 100 == event["restaurant_id"]
            assert 1 <= item % 100 <= world.size.menu_items
        assert ("query" in event["properties"]) == (event["event_type"] == "search")
        assert ("payment_method" in event["properties"]) == (event["event_type"] == "payment_attempt")
    for visit in by_session.values():
        assert len({event["user_id"] for event in visit}) == 1
        assert len({event["device_type"] for event in visit} - {"tv"}) <= 1


def test_the_funnel_narrows(world: World, day: date) -> None:
    sessions = defaultdict(set)
    for value in values_of(world, day, 40_000):
        event = orjson.loads(value)
        sessions[event["event_type"]].add(event["session_id"])
    steps = ["app_open", "restaurant_view", "add_to_cart", "checkout_start", "order_placed"]
    reached = [len(sessions[step]) for step in steps]
    assert reached == sorted(reached, reverse=True)
    assert len(set(reached)) == len(reached)
    # Who placed an order has walked the whole way, unless midnight cut the visit or the event is a broken one.
    walked = set.intersection(*(sessions[step] for step in steps))
    assert len(walked) > 0.95 * reached[-1]


def test_orders_add_up_and_are_placed_where_it_is_open(world: World, day: date) -> None:
    orders = make_orders(world, day, 400)
    sums = np.bincount(orders.line_order, orders.line_quantity * orders.line_price_cents, len(orders))
    assert (sums == orders.subtotal_cents).all()
    assert (orders.discount_cents <= orders.subtotal_cents).all()
    assert (np.bincount(orders.line_order, minlength=len(orders)) >= 1).all()
    assert ((orders.placed_us >= 0) & (orders.placed_us < DAY_US)).all()
    for restaurant, city, placed in zip(orders.restaurant, orders.city, orders.placed_us, strict=True):
        assert world.restaurant_city[restaurant] == city
        assert world.is_open(int(placed // 60_000_000))[restaurant]


def test_steps_end_delivered_or_cancelled(world: World, day: date) -> None:
    orders = make_orders(world, day, 200)
    steps = steps_between(orders, 0, 3 * DAY_US)
    last = {int(order): int(status) for order, status in zip(steps.order, steps.status, strict=True)}
    assert set(last) == set(range(len(orders)))
    assert set(last.values()) == {DELIVERED, CANCELLED}
    cut = DAY_US // 2
    first, second = steps_between(orders, 0, cut), steps_between(orders, cut, 3 * DAY_US)
    assert len(first.order) + len(second.order) == len(steps.order)


def test_users_change_one_day_at_a_time(world: World, day: date) -> None:
    for offset in range(60):
        before = world.users_state(day + timedelta(days=offset - 1))
        after = world.users_state(day + timedelta(days=offset))
        differs = (before.city != after.city) | (before.tier != after.tier) | (before.is_active != after.is_active)
        changed = after.changed_on == (day + timedelta(days=offset)).toordinal()
        assert (differs <= changed).all()
        assert (after.changed_at_us < DAY_US - 600_000_000).all()


def test_late_events_are_new_and_of_that_day(world: World, day: date) -> None:
    known = {orjson.loads(value)["event_id"] for value in values_of(world, day)}

    def late(seed: int) -> list[Event]:
        clicks = make_late_clicks(world, make_orders(world, day, 0), 50, seed)
        return [orjson.loads(value) for _, values in encode(world, clicks) for value in values]

    assert len(late(1)) == 50
    assert {event["event_timestamp"][:10] for event in late(1)} == {day.isoformat()}
    assert late(1) == late(1)
    assert not {event["event_id"] for event in late(1)} & (known | {event["event_id"] for event in late(2)})


@pytest.mark.parametrize(
    "size", [WorldSize(1, 1, 1, 1), WorldSize(10, 7, 99, 3), WorldSize(users=20, restaurants=5, menu_items=2, cities=5)]
)
def test_small_worlds_work(size: WorldSize, day: date) -> None:
    world = World(1, size)
    for offset in range(20):
        assert len({orjson.loads(v)["event_id"] for v in values_of(world, day + timedelta(days=offset), 400)}) == 400
