"""The clickstream of a day as columns: the visits that led to that day's orders, and those that led to none.

Which events happen, when, and in which order is decided here; their JSON belongs to `simulation.history.encoding`.
Faults are part of a real clickstream, so redelivered and rule-breaking events are made here too, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from producers.clickstream.funnel import (
    ADD,
    CHECKOUT,
    CLOSE,
    ITEM,
    LEAVE,
    NEXT_CUMULATIVE,
    OPEN,
    PAYMENT,
    PLACED,
    REMOVE,
    RESTAURANT,
    SEARCH,
    TRACKED,
)
from simulation.history.orders_day import OrdersDay
from simulation.history.randomness import DAY_US, SECOND_US, Bools, Floats, Ints, Stream, generator, times_of_day, uuids
from simulation.world import World

_NEXT_CUMULATIVE = np.array(NEXT_CUMULATIVE)

UNKNOWN_TYPE = 11
UNKNOWN_DEVICE = 3
NONE = -1

DUPLICATE_RATIO = 0.002
INVALID_RATIO = 0.0002
MAX_SESSION_EVENTS = 60
MEAN_SESSION_EVENTS = 7.0


@dataclass(frozen=True)
class ClicksDay:
    """One day's events in the order they are sent; the last columns say which are faults.

    Attributes:
        event_id: UUIDs as a `binary` array.
        session_id: UUIDs as a `binary` array.
        type: Index into `EVENT_TYPES`, or `UNKNOWN_TYPE`.
        at_us: Microseconds since midnight.
        device: Index into `DEVICES`, or `UNKNOWN_DEVICE`.
        city: Index of the user's city.
        restaurant_id: restaurants.restaurant_id or `NONE`.
        order_id: orders.order_id or `NONE`.
        menu_item_id: menu_items.menu_item_id or `NONE`.
        quantity: Pieces put into the cart, or `NONE`.
        term: Index into the world's search terms, or `NONE`.
        payment: Index of the payment method, or `NONE`.
        duplicates: How many rows repeat an earlier one, byte for byte.
        invalid: How many rows break one of the domain's rules.
    """

    day: date
    event_id: pa.Array
    session_id: pa.Array
    type: Ints
    at_us: Ints
    user_id: Ints
    device: Ints
    city: Ints
    restaurant_id: Ints
    order_id: Ints
    menu_item_id: Ints
    quantity: Ints
    term: Ints
    payment: Ints
    duplicates: int
    invalid: int

    def __len__(self) -> int:
        return len(self.type)


@dataclass
class _Visits:
    """Events of visits, not yet sorted; `session` is a number within the day, `dish` an index on the menu."""

    session: Ints
    type: Ints
    at_us: Ints
    user: Ints
    restaurant: Ints
    dish: Ints
    quantity: Ints
    order_id: Ints
    payment: Ints

    def __len__(self) -> int:
        return len(self.session)

    def columns(self) -> tuple[Ints, ...]:
        return (
            self.session,
            self.type,
            self.at_us,
            self.user,
            self.restaurant,
            self.dish,
            self.quantity,
            self.order_id,
            self.payment,
        )

    def take(self, rows: Ints | Bools) -> _Visits:
        return _Visits(*(column[rows] for column in self.columns()))


def make_clicks(world: World, orders: OrdersDay, events: int) -> ClicksDay:
    """Return a day's clickstream.

    Args:
        world: Whose users visit.
        orders: The day's orders; each has the visit that led to it.
        events: Unique events, exactly; redelivered ones come on top.
    """
    rng = generator(world.seed, orders.day, Stream.CLICKS)
    bought = _order_visits(world, orders, rng)
    bought = bought.take((bought.at_us >= 0) & (bought.at_us < DAY_US))
    if len(bought) > events:
        bought = bought.take(np.arange(events))
    browsed = _browsing_visits(world, orders, rng, events - len(bought))
    visits = _Visits(*(np.concatenate(pair) for pair in zip(bought.columns(), browsed.columns(), strict=True)))
    visits = visits.take(np.argsort(visits.at_us, kind="stable"))
    return _columns(world, orders.day, visits, rng)


def make_late_clicks(world: World, orders: OrdersDay, events: int, seed: int) -> ClicksDay:
    """Return events that happened on a day and reach the platform later; none repeats one of `make_clicks`."""
    rng = np.random.default_rng([world.seed, orders.day.toordinal(), int(Stream.LATE), seed])
    visits = _browsing_visits(world, orders, rng, events)
    visits = visits.take(np.argsort(visits.at_us, kind="stable"))
    return _columns(world, orders.day, visits, rng, faults=False)


def _order_visits(world: World, orders: OrdersDay, rng: np.random.Generator) -> _Visits:
    count = len(orders)
    everyone = np.arange(count)
    placed = orders.placed_us
    parts: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []  # order, type, time, dish, quantity

    def add(who: Ints, kind: int, at_us: Ints, dish: Ints | None = None, quantity: Ints | None = None) -> None:
        nothing = np.full(len(who), NONE)
        parts.append(
            (
                who,
                np.full(len(who), kind),
                at_us,
                nothing if dish is None else dish,
                nothing if quantity is None else quantity,
            )
        )

    def jitter(size: int, seconds: float) -> Ints:
        return (rng.random(size) * seconds * SECOND_US).astype(np.int64)

    line, dish, quantity = orders.line_order, orders.line_dish, orders.line_quantity
    searching = everyone[rng.random(count) < 0.6]
    changing = everyone[rng.random(count) < 0.12]
    add(everyone, OPEN, placed - 200 * SECOND_US - jitter(count, 30))
    add(searching, SEARCH, placed[searching] - 190 * SECOND_US + jitter(len(searching), 15))
    add(everyone, RESTAURANT, placed - 170 * SECOND_US + jitter(count, 10))
    add(line, ITEM, placed[line] - 150 * SECOND_US + jitter(len(line), 50), dish)
    add(line, ADD, placed[line] - 95 * SECOND_US + jitter(len(line), 40), dish, quantity)
    add(changing, REMOVE, placed[changing] - 50 * SECOND_US + jitter(len(changing), 5), None)
    add(everyone, CHECKOUT, placed - 30 * SECOND_US + jitter(count, 10))
    add(everyone, PAYMENT, placed - 15 * SECOND_US + jitter(count, 10))
    add(everyone, PLACED, placed)
    end = orders.step_us[everyone, orders.last_step()]
    for share in (0.7, 0.3):
        tracking = everyone[rng.random(count) < share]
        span = (rng.random(len(tracking)) * (end - placed - SECOND_US)[tracking]).astype(np.int64)
        add(tracking, TRACKED, placed[tracking] + SECOND_US + span)
    closing = everyone[rng.random(count) < 0.7]
    add(closing, CLOSE, end[closing] + jitter(len(closing), 300))

    order, kind, at_us, dishes, quantities = (np.concatenate(column) for column in zip(*parts, strict=True))
    names_order = np.isin(kind, (PLACED, TRACKED))
    first_dish = orders.line_dish[np.searchsorted(orders.line_order, everyone)] if count else everyone
    return _Visits(
        session=order,
        type=kind,
        at_us=at_us,
        user=orders.user[order],
        restaurant=np.where(np.isin(kind, (OPEN, SEARCH, CLOSE)), NONE, orders.restaurant[order]),
        dish=np.where(kind == REMOVE, first_dish[order], dishes),
        quantity=quantities,
        order_id=np.where(names_order, orders.order_id[order], NONE),
        payment=np.where(kind == PAYMENT, orders.payment[order], NONE),
    )


def _browsing_visits(world: World, orders: OrdersDay, rng: np.random.Generator, events: int) -> _Visits:
    """Walk visits until there are `events` events; the last visit is cut where the number is reached."""
    rounds: list[_Visits] = []
    have, session = 0, len(orders)
    while have < events:
        # A little more than needed: a second round is rare, and costs less than many surplus visits.
        count = max(8, int((events - have) / MEAN_SESSION_EVENTS * 1.08))
        visits = _walk(world, orders.day, rng, count, session)
        rounds.append(visits)
        have += len(visits)
        session += count
    if not rounds:
        return _Visits(*(np.zeros(0, np.int64) for _ in range(9)))
    joined = _Visits(*(np.concatenate(column) for column in zip(*(part.columns() for part in rounds), strict=True)))
    joined = joined.take(np.lexsort((joined.at_us, joined.session)))
    return joined.take(np.arange(events))


def _walk(world: World, day: date, rng: np.random.Generator, count: int, first_session: int) -> _Visits:
    user = world.pick_users(rng, day, count)
    city = world.users_state(day).city[user]
    at_us = times_of_day(rng, count)
    restaurant = world.pick_restaurants(rng, city, at_us)
    active, state = np.arange(count), np.zeros(count, np.int64)
    time = at_us.copy()
    steps: list[tuple[Ints, Ints, Ints, Ints]] = []
    for _ in range(MAX_SESSION_EVENTS):
        steps.append((active, state, time, restaurant[active]))
        following = (rng.random(len(active))[:, None] >= _NEXT_CUMULATIVE[state]).sum(1)
        later = time + (rng.exponential(12.0, len(active)) * SECOND_US).astype(np.int64) + 1_000
        going_on = (following < LEAVE) & (later < DAY_US)
        active, state, time = active[going_on], following[going_on], later[going_on]
        if not len(active):
            break
        looking = active[state == RESTAURANT]
        restaurant[looking] = world.pick_restaurants(rng, city[looking], time[state == RESTAURANT])
    session, kind, time, where = (np.concatenate(column) for column in zip(*steps, strict=True))
    total = len(session)
    nothing = np.full(total, NONE)
    dish = np.where(np.isin(kind, (ITEM, ADD, REMOVE)), rng.integers(0, world.size.menu_items, total), NONE)
    return _Visits(
        session=session + first_session,
        type=kind,
        at_us=time,
        user=user[session],
        restaurant=np.where(np.isin(kind, (OPEN, SEARCH, CLOSE)), NONE, where),
        dish=dish,
        quantity=np.where(kind == ADD, rng.integers(1, 4, total), NONE),
        order_id=nothing,
        payment=np.where(kind == PAYMENT, rng.integers(0, 3, total), NONE),
    )


def _columns(world: World, day: date, visits: _Visits, rng: np.random.Generator, *, faults: bool = True) -> ClicksDay:
    count = len(visits)
    sessions, session = np.unique(visits.session, return_inverse=True)
    kind, order_id = visits.type.copy(), visits.order_id.copy()
    device = world.devices[visits.user].copy()
    event_id, session_id = uuids(rng, count), uuids(rng, len(sessions))
    term = np.where(kind == SEARCH, rng.integers(0, len(world.search_terms), count), NONE)

    invalid = 0
    sent = np.arange(count)
    duplicates = 0
    if faults and count:
        candidates = np.nonzero(kind == ITEM)[0]
        wanted = max(1, round(count * INVALID_RATIO)) if count >= 100 else 0
        broken = rng.permutation(candidates)[:wanted]
        invalid = len(broken)
        kind[broken[0::3]] = PLACED  # without an order_id
        kind[broken[1::3]] = UNKNOWN_TYPE
        device[broken[2::3]] = UNKNOWN_DEVICE
        sound = np.setdiff1d(np.arange(count), broken)
        repeated = rng.permutation(sound)[: round(count * DUPLICATE_RATIO)]
        duplicates = len(repeated)
        # A client sends again within the next few thousand events.
        place: Floats = np.concatenate([np.arange(count, dtype=float), repeated + rng.random(duplicates) * 3_000 + 0.5])
        sent = np.concatenate([sent, repeated])[np.argsort(place, kind="stable")]

    has_restaurant = visits.restaurant >= 0
    menu_item = (visits.restaurant + 1) * 100 + visits.dish + 1
    city = world.users_state(day).city[visits.user]
    rows = pa.array(sent)
    return ClicksDay(
        day=day,
        event_id=event_id.take(rows) if count else event_id,
        session_id=session_id.take(pa.array(session[sent])) if count else session_id,
        type=kind[sent],
        at_us=visits.at_us[sent],
        user_id=visits.user[sent] + 1,
        device=device[sent],
        city=city[sent],
        restaurant_id=np.where(has_restaurant, visits.restaurant + 1, NONE)[sent],
        order_id=order_id[sent],
        menu_item_id=np.where(has_restaurant & (visits.dish >= 0), menu_item, NONE)[sent],
        quantity=visits.quantity[sent],
        term=term[sent],
        payment=visits.payment[sent],
        duplicates=duplicates,
        invalid=invalid,
    )
