"""What a visit to the app is made of: the event types, the devices, and which event follows which.

Shared by the live clickstream and its history, so that both walk the same funnel. When an event happens, and whose
it is, belongs to them.
"""

from __future__ import annotations

import numpy as np

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
_NEXT = np.zeros((11, 12))
_NEXT[OPEN, [SEARCH, RESTAURANT, CLOSE, LEAVE]] = 0.52, 0.36, 0.06, 0.06
_NEXT[SEARCH, [SEARCH, RESTAURANT, CLOSE, LEAVE]] = 0.24, 0.61, 0.08, 0.07
_NEXT[RESTAURANT, [ITEM, RESTAURANT, SEARCH, CLOSE, LEAVE]] = 0.62, 0.18, 0.08, 0.07, 0.05
_NEXT[ITEM, [ITEM, ADD, RESTAURANT, SEARCH, CLOSE, LEAVE]] = 0.42, 0.18, 0.18, 0.06, 0.09, 0.07
_NEXT[ADD, [ITEM, REMOVE, CHECKOUT, RESTAURANT, CLOSE, LEAVE]] = 0.48, 0.14, 0.12, 0.10, 0.08, 0.08
_NEXT[REMOVE, [ITEM, RESTAURANT, CLOSE, LEAVE]] = 0.45, 0.25, 0.18, 0.12
_NEXT[CHECKOUT, [PAYMENT, ITEM, CLOSE, LEAVE]] = 0.20, 0.20, 0.30, 0.30
_NEXT[PAYMENT, [CHECKOUT, CLOSE, LEAVE]] = 0.30, 0.40, 0.30
_NEXT[CLOSE, LEAVE] = 1.0
_NEXT[[PLACED, TRACKED], LEAVE] = 1.0
NEXT_CUMULATIVE = _NEXT.cumsum(1)
NEXT_CUMULATIVE[:, -1] = 1.1
