"""What a visit to the app is made of: the event types, the devices, and which event follows which.

Shared by the live clickstream and its history, so that both walk the same funnel. When an event happens, and whose
it is, belongs to them.
"""

from __future__ import annotations

from itertools import accumulate

EVENT_TYPES = (
    "app_open",
    "search",
    "restaurant_view",
    "menu_item_view",
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "payment_attempt",
    "order_placed",
    "order_tracked",
    "app_close",
)
OPEN, SEARCH, RESTAURANT, ITEM, ADD, REMOVE, CHECKOUT, PAYMENT, PLACED, TRACKED, CLOSE = range(11)
DEVICES = ("ios", "android", "web")

LEAVE = 11

# A browsing visit: from each event (row) to the next (column); the last column leaves without a word.
_NEXT: dict[int, dict[int, float]] = {
    OPEN: {SEARCH: 0.52, RESTAURANT: 0.36, CLOSE: 0.06, LEAVE: 0.06},
    SEARCH: {SEARCH: 0.24, RESTAURANT: 0.61, CLOSE: 0.08, LEAVE: 0.07},
    RESTAURANT: {ITEM: 0.62, RESTAURANT: 0.18, SEARCH: 0.08, CLOSE: 0.07, LEAVE: 0.05},
    ITEM: {ITEM: 0.42, ADD: 0.18, RESTAURANT: 0.18, SEARCH: 0.06, CLOSE: 0.09, LEAVE: 0.07},
    ADD: {ITEM: 0.48, REMOVE: 0.14, CHECKOUT: 0.12, RESTAURANT: 0.10, CLOSE: 0.08, LEAVE: 0.08},
    REMOVE: {ITEM: 0.45, RESTAURANT: 0.25, CLOSE: 0.18, LEAVE: 0.12},
    CHECKOUT: {PAYMENT: 0.20, ITEM: 0.20, CLOSE: 0.30, LEAVE: 0.30},
    PAYMENT: {CHECKOUT: 0.30, CLOSE: 0.40, LEAVE: 0.30},
    PLACED: {LEAVE: 1.0},
    TRACKED: {LEAVE: 1.0},
    CLOSE: {LEAVE: 1.0},
}
NEXT_CUMULATIVE = tuple(
    # The last one is above 1, so that no draw is beyond it.
    (*tuple(accumulate(_NEXT[event].get(following, 0.0) for following in range(LEAVE + 1)))[:-1], 1.1)
    for event in range(len(EVENT_TYPES))
)
"""Of each event, up to each following one: the share of visits that go on by it or by one before it."""
