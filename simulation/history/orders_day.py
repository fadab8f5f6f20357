"""The orders placed on a day and every step of their life, as columns.

What an order is and how it walks from placed to delivered is decided here; putting it into Postgres belongs to
`simulation.history.shop_past`, the visits that led to it to `simulation.history.clicks_day`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from simulation.history.randomness import SECOND_US, Ints, Stream, generator, times_of_day
from simulation.world import World, day_ids

STATUSES = ("placed", "confirmed", "preparing", "ready", "picked_up", "delivered", "cancelled")
DELIVERED, CANCELLED = 5, 6
PAYMENT_METHODS = ("card", "wallet", "cash")
NEVER = 99


@dataclass(frozen=True)
class OrdersDay:
    """The orders of one day; times are microseconds since that day's midnight and may lie on the next day.

    Attributes:
        order_id: Ascending, in the order of `placed_us`.
        user: Index of who ordered.
        restaurant: Index of who cooks.
        city: Index of the city of delivery.
        payment: Index into `PAYMENT_METHODS`.
        fee_cents: Fee of the delivery.
        discount_cents: Taken off the sum.
        subtotal_cents: Sum of quantity x unit price of the order's lines.
        step_us: orders x 6, when each status from placed to delivered is reached, if it is.
        cancelled_step: The step at which the order is cancelled instead, or `NEVER`.
        line_order: Index of the order that a line belongs to, ascending.
        line_dish: Index of the dish on the restaurant's menu.
        line_quantity: Pieces.
        line_price_cents: Price of one piece.
    """

    day: date
    order_id: Ints
    user: Ints
    restaurant: Ints
    city: Ints
    payment: Ints
    fee_cents: Ints
    discount_cents: Ints
    subtotal_cents: Ints
    step_us: Ints
    cancelled_step: Ints
    line_order: Ints
    line_dish: Ints
    line_quantity: Ints
    line_price_cents: Ints

    @property
    def placed_us(self) -> Ints:
        """When each order was placed."""
        return self.step_us[:, 0]

    def last_step(self) -> Ints:
        """Index of the last step that each order takes."""
        return np.minimum(self.cancelled_step, DELIVERED)

    def __len__(self) -> int:
        return len(self.order_id)


@dataclass(frozen=True)
class Steps:
    """Changes of status after placing, in the order of time.

    Attributes:
        at_us: Microseconds since midnight of the orders' day.
        order: Index of the order.
        status: Index into `STATUSES`.
    """

    at_us: Ints
    order: Ints
    status: Ints


def orders_for(events_per_day: int) -> int:
    """Orders of a day that has this many clickstream events: 480, fewer on a small day."""
    return min(480, events_per_day // 40)


def make_orders(world: World, day: date, count: int) -> OrdersDay:
    """Return the orders of a day.

    Args:
        world: Whose users order and whose restaurants cook.
    """
    rng = generator(world.seed, day, Stream.ORDERS)
    placed = np.sort(times_of_day(rng, count))
    user = world.pick_users(rng, day, count)
    city = world.users_state(day).city[user]
    restaurant = world.pick_restaurants(rng, city, placed)

    lines = rng.integers(1, 5, count)
    line_order = np.repeat(np.arange(count), lines)
    dish = rng.integers(0, world.size.menu_items, len(line_order))
    quantity = rng.integers(1, 4, len(line_order))
    price = world.menu_state(day).price_cents[restaurant[line_order], dish]
    subtotal = np.zeros(count, np.int64)
    np.add.at(subtotal, line_order, quantity * price)
    discounted = rng.random(count) < 0.15
    discount = np.where(discounted, subtotal * rng.integers(5, 25, count) // 100, 0)

    gaps = np.column_stack(
        [
            rng.gamma(2, 30, count),
            rng.gamma(2, 60, count),
            rng.lognormal(6.6, 0.4, count),
            rng.gamma(3, 90, count),
            rng.lognormal(6.9, 0.35, count),
        ]
    )
    # A second at least, so that no two versions of an order share their updated_at.
    gaps_us = (np.maximum(gaps, 1.0) * SECOND_US).astype(np.int64)
    steps = np.column_stack([placed, gaps_us]).cumsum(1)
    return OrdersDay(
        day=day,
        order_id=day_ids(day, count),
        user=user,
        restaurant=restaurant,
        city=city,
        payment=rng.choice(3, count, p=[0.6, 0.25, 0.15]),
        fee_cents=rng.choice(np.array([0, 199, 299, 399]), count),
        discount_cents=discount,
        subtotal_cents=subtotal,
        step_us=steps,
        cancelled_step=np.where(rng.random(count) < 0.07, rng.integers(1, 4, count), NEVER),
        line_order=line_order,
        line_dish=dish,
        line_quantity=quantity,
        line_price_cents=price,
    )


def steps_between(orders: OrdersDay, start_us: int, end_us: int) -> Steps:
    """Return the changes of status with start <= time < end, times relative to the orders' own midnight."""
    number = np.arange(1, DELIVERED + 1)
    times = orders.step_us[:, 1:]
    taken = (number <= orders.last_step()[:, None]) & (times >= start_us) & (times < end_us)
    order, column = np.nonzero(taken)
    status = np.where(number[column] == orders.cancelled_step[order], CANCELLED, number[column])
    at = times[order, column]
    by_time = np.argsort(at, kind="stable")
    return Steps(at[by_time], order[by_time], status[by_time])
