"""How an order lives on: which step comes next, and how long it takes.

The decision depends only on the seed, the order and its status, so a simulator that was restarted decides the same.
Writing the step to Postgres belongs to `simulation.shop.simulator`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

FLOW = ("placed", "confirmed", "preparing", "ready", "picked_up", "delivered")
OPEN_STATUSES = FLOW[:-1]
CANCEL_RATIO = 0.025


@dataclass(frozen=True)
class Progress:
    """Where an order stands.

    Attributes:
        at: When it reached it.
    """

    status: str
    at: datetime


def advance(order_id: int, progress: Progress, now: datetime, *, seed: int, speed: float) -> Progress:
    """Return where an order stands at `now`: the same object if nothing is due.

    Args:
        progress: Where it stood last.
        seed: The shop's.
        speed: How many times faster than life.
    """
    while progress.status in OPEN_STATUSES:
        draw = random.Random(f"{seed}:{order_id}:{progress.status}")
        position = FLOW.index(progress.status)
        cancels = position < 3 and draw.random() < CANCEL_RATIO
        due = progress.at + timedelta(seconds=_seconds(draw, position) / speed)
        if due > now:
            break
        progress = Progress("cancelled" if cancels else FLOW[position + 1], due)
    return progress


def _seconds(draw: random.Random, position: int) -> float:
    return (
        draw.gammavariate(2, 30),
        draw.gammavariate(2, 60),
        draw.lognormvariate(6.6, 0.4),
        draw.gammavariate(3, 90),
        draw.lognormvariate(6.9, 0.35),
    )[position]
