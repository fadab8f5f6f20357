"""Late data on demand: events and corrections of a date that was processed already, by the normal way.

Only putting the two together belongs here; the events come from `simulation.history.clicks_day`, the corrections from
`simulation.shop.corrections`, and the corrected orders reach Kafka with the next poll.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from platform_core.domain.catalog import Catalog
from platform_core.settings import Settings
from platform_kafka.formats.wire_format import decode_value, header
from producers.postgres.database import connect
from simulation.history.bulk import BulkDelivery
from simulation.history.clicks_day import make_late_clicks
from simulation.history.encoding import encode
from simulation.history.orders_day import make_orders
from simulation.shop.corrections import correct_orders
from simulation.shop.seed import read_world


def send_late(
    settings: Settings, catalog: Catalog, day: date, *, events: int, orders: int, seed: int
) -> dict[str, Any]:
    """Send late events of a date, and correct orders placed on it.

    The same arguments give the same events, byte for byte; another seed gives others.

    Args:
        day: The UTC date that is late.
        events: How many events to send.
        orders: How many orders to correct in Postgres; the change capture sends them.
        seed: Which events and which orders.

    Returns:
        What was done, with the identifiers.

    Raises:
        ConfigurationError: the shop is empty, or the date has too few orders.
    """
    connection = connect(settings, application="pdp-late")
    try:
        world = read_world(connection)
        corrected = correct_orders(connection, day, orders, seed=seed) if orders else []
    finally:
        connection.close()
    sent: list[str] = []
    if events:
        delivery = BulkDelivery.connect(settings, catalog["events"])
        clicks = make_late_clicks(world, make_orders(world, day, 0), events, seed)
        for keys, values in encode(world, clicks, header(delivery.schema_id)):
            delivery.send_encoded(keys, values, day.isoformat())
            sent += [decode_value(value)["event_id"] for value in values]
        delivery.deliver()
    return {
        "command": "late",
        "date": day.isoformat(),
        "seed": seed,
        "domains": {"events": {"produced": len(sent)}},
        "events": {"produced": len(sent), "event_ids": sent},
        "orders": {"updated": len(corrected), "changes": corrected},
    }
