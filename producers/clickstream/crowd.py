"""The live clickstream: virtual users, each in a visit that walks the funnel, at a given rate.

How a visit goes and when its next event is due belongs here. Who there is and what was ordered comes from
`producers.clickstream.shop_view`: an `order_placed` is only ever sent for an order that is in the shop.
"""

from __future__ import annotations

import bisect
import heapq
import logging
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from platform_core.errors import TransientError
from producers.clickstream.funnel import (
    ADD,
    CLOSE,
    DEVICES,
    EVENT_TYPES,
    ITEM,
    LEAVE,
    NEXT_CUMULATIVE,
    OPEN,
    PAYMENT,
    REMOVE,
    RESTAURANT,
    SEARCH,
)
from producers.clickstream.shop_view import Kitchen, PlacedOrder, ShopView, Visitor
from producers.delivery import Delivery, Receipt

log = logging.getLogger(__name__)

NEWS_SECONDS = 5.0
REFRESH_SECONDS = 300.0
DELIVER_EVERY_SECONDS = 1.0
MAX_WAITING_ORDERS = 1_000
TERMS = ("pizza", "sushi", "burger", "vegan", "noodles", "curry", "tacos", "salad", "breakfast", "dessert")
PAYMENT_METHODS = ("card", "wallet", "cash")

Event = dict[str, Any]


class Crowd:
    """The virtual users and their visits; knows nothing of Kafka or of real time.

    Args:
        virtual_users: How many visits go on at once.
        events_per_second: Of all of them together, on average.
        draw: Randomness of the visits.
        now: The time at the start.
    """

    def __init__(
        self,
        view: ShopView,
        *,
        virtual_users: int,
        events_per_second: float,
        draw: random.Random,
        now: datetime,
    ) -> None:
        self._view = view
        self._draw = draw
        self._gap_seconds = virtual_users / events_per_second
        self._waiting: deque[PlacedOrder] = deque(maxlen=MAX_WAITING_ORDERS)
        self._tracked: deque[PlacedOrder] = deque(view.open_orders(), maxlen=MAX_WAITING_ORDERS)
        self._news_since = view.now()
        self._refreshed_at = self._asked_at = now
        self._visitors = view.visitors()
        self._kitchens = view.kitchens()
        self._visits: list[Iterator[Event]] = [self._visit() for _ in range(virtual_users)]
        self._due: list[tuple[datetime, int]] = [(now + self._gap(), number) for number in range(virtual_users)]
        heapq.heapify(self._due)

    def events(self, now: datetime) -> Iterator[Event]:
        """Yield the events that are due, each at the time it was due at."""
        self._hear_news(now)
        while self._due[0][0] <= now:
            at, number = self._due[0]
            event = next(self._visits[number], None)
            if event is None:
                self._visits[number] = self._visit()
                event = next(self._visits[number])
            heapq.heapreplace(self._due, (at + self._gap(), number))
            yield {**event, "event_timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    def _gap(self) -> timedelta:
        return timedelta(seconds=self._draw.expovariate(1 / self._gap_seconds))

    def _hear_news(self, now: datetime) -> None:
        if (now - self._asked_at).total_seconds() >= NEWS_SECONDS:
            self._asked_at = now
            for at, order in self._view.orders_since(self._news_since):
                self._news_since = at
                self._waiting.append(order)
        if (now - self._refreshed_at).total_seconds() >= REFRESH_SECONDS:
            self._refreshed_at = now
            self._visitors, self._kitchens = self._view.visitors(), self._view.kitchens()

    def _visit(self) -> Iterator[Event]:
        if self._waiting:
            return self._buying(self._waiting.popleft())
        if self._tracked and self._draw.random() < 0.1:
            return self._tracking(self._tracked.popleft())
        return self._browsing(self._draw.choice(self._visitors))

    def _base(self, visitor: Visitor) -> Event:
        draw = self._draw
        return {
            "session_id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
            "user_id": visitor.user_id,
            "device_type": DEVICES[visitor.user_id % len(DEVICES)],
            "city": visitor.city,
        }

    def _event(self, base: Event, kind: str, **more: Any) -> Event:
        restaurant_id, order_id = more.pop("restaurant_id", None), more.pop("order_id", None)
        return {
            "event_id": str(uuid.UUID(int=self._draw.getrandbits(128), version=4)),
            "event_type": kind,
            **base,
            "restaurant_id": restaurant_id,
            "order_id": order_id,
            "properties": more,
        }

    def _browsing(self, visitor: Visitor) -> Iterator[Event]:
        draw, base = self._draw, self._base(visitor)
        kitchens = self._kitchens.get(visitor.city) or next(iter(self._kitchens.values()))
        kitchen: Kitchen = draw.choice(kitchens)
        state = OPEN
        while state != LEAVE:
            kind = EVENT_TYPES[state]
            if state == RESTAURANT:
                kitchen = draw.choice(kitchens)
            more: Event = {}
            if state == SEARCH:
                more["query"] = draw.choice(TERMS)
            if state not in (OPEN, SEARCH, CLOSE):
                more["restaurant_id"] = kitchen.restaurant_id
            if state in (ITEM, REMOVE, ADD):
                more["menu_item_id"] = draw.choice(kitchen.menu_item_ids)
            if state == ADD:
                more["quantity"] = draw.randint(1, 3)
            if state == PAYMENT:
                more["payment_method"] = draw.choice(PAYMENT_METHODS)
            yield self._event(base, kind, **more)
            state = bisect.bisect_right(NEXT_CUMULATIVE[state], draw.random())

    def _buying(self, order: PlacedOrder) -> Iterator[Event]:
        draw, base = self._draw, self._base(order.visitor)
        at = {"restaurant_id": order.restaurant_id}
        yield self._event(base, "app_open")
        if draw.random() < 0.6:
            yield self._event(base, "search", query=draw.choice(TERMS))
        yield self._event(base, "restaurant_view", **at)
        for item, quantity in order.lines:
            yield self._event(base, "menu_item_view", **at, menu_item_id=item)
            yield self._event(base, "add_to_cart", **at, menu_item_id=item, quantity=quantity)
        yield self._event(base, "checkout_start", **at)
        yield self._event(base, "payment_attempt", **at, payment_method=order.payment_method)
        yield self._event(base, "order_placed", **at, order_id=order.order_id)
        for _ in range(draw.randint(0, 2)):
            yield self._event(base, "order_tracked", **at, order_id=order.order_id)
        yield self._event(base, "app_close")

    def _tracking(self, order: PlacedOrder) -> Iterator[Event]:
        base = self._base(order.visitor)
        yield self._event(base, "app_open")
        yield self._event(base, "order_tracked", restaurant_id=order.restaurant_id, order_id=order.order_id)
        yield self._event(base, "app_close")


class ClickstreamSender:
    """Sends events and keeps those that are not acknowledged yet, to send them again after an outage.

    Args:
        delivery: Connects, when it is first needed, and returns the delivery into the events topic.
    """

    def __init__(self, delivery: Callable[[], Delivery]) -> None:
        self._delivery = delivery
        self._pending: list[Event] = []
        self._resend = False
        self.receipt = Receipt()

    def send(self, event: Event) -> None:
        """Take an event.

        Raises:
            TransientError: it is kept, and `deliver` sends it again.
        """
        self._pending.append(event)
        if not self._resend:
            try:
                self._delivery().send(event)
            except TransientError:
                self._resend = True
                raise

    def deliver(self) -> None:
        """Wait for the reports of all events taken, unchanged ones of an earlier failure included.

        Raises:
            TransientError: they are kept, and the next call sends them again.
        """
        if not self._pending:
            return
        delivery = self._delivery()
        try:
            if self._resend:
                delivery.abandon()
                for event in self._pending:
                    delivery.send(event)
            self.receipt.add(delivery.deliver())
        except TransientError:
            self._resend = True
            delivery.abandon()
            raise
        self._resend = False
        self._pending.clear()
