"""The shop at its real pace, until it is stopped.

Wiring of connection, simulator and interval belongs here; what one moment brings belongs to
`simulation.shop.simulator`.
"""

from __future__ import annotations

import logging

from psycopg2.extensions import connection as Connection

from platform_core.clock import SystemClock
from platform_core.settings import Settings
from producers.live import Session
from producers.running import Stop, run_every
from simulation.shop.seed import read_world
from simulation.shop.simulator import ShopSimulator

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0


def run_shop(settings: Settings, stop: Stop, *, speed: float) -> dict[str, int]:
    """Simulate the shop and return what happened."""
    clock = SystemClock()
    counts: dict[str, int] = {}
    last = clock.now()

    def make(connection: Connection) -> ShopSimulator:
        return ShopSimulator(connection, read_world(connection), speed=speed)

    session = Session(settings, "pdp-shop", make)

    def act(shop: ShopSimulator) -> None:
        nonlocal last
        now = clock.now()
        # After a long sleep of the machine nobody wants a day's orders in one moment.
        elapsed = min((now - last).total_seconds(), 60.0)
        last = now
        shop.counts.clear()
        shop.tick(now, elapsed)
        for name, count in shop.counts.items():
            counts[name] = counts.get(name, 0) + count

    run_every(TICK_SECONDS, lambda: session.use(act), stop, session.drop)
    session.drop()
    log.info("shop_stopped %s", " ".join(f"{name}={count}" for name, count in counts.items()))
    return counts
