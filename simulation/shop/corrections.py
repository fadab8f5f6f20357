"""Corrections of an earlier day's orders, as support and couriers make them: ordinary updates, long after.

Only the correction itself belongs here; that it reaches the day's partition is the business of the change capture
and of the LATE path (docs/operations.md).
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection

from platform_core.errors import ConfigurationError
from simulation.shop.lifecycle import FLOW
from simulation.shop.seed import midnight


def correct_orders(connection: Connection, day: date, count: int, *, seed: int) -> list[dict[str, Any]]:
    """Change orders that were placed on a day: open ones go on, delivered ones get a refund.

    A refund raises the discount and lowers the total by the same amount, at most what was paid.

    Args:
        connection: To the shop, autocommit.
        day: The UTC day on which the orders were placed.
        seed: Which orders, and how much.

    Returns:
        For each order its id, what was done, and its new status and total.

    Raises:
        ConfigurationError: the day has fewer orders that can change.
    """
    draw = random.Random(f"{seed}:{day.isoformat()}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT order_id, status, total FROM orders WHERE created_at >= %s AND created_at < %s"
            " AND deleted_at IS NULL AND status <> 'cancelled' AND (status <> 'delivered' OR total > 0)"
            " ORDER BY order_id",
            (midnight(day), midnight(day + timedelta(days=1))),
        )
        found = cursor.fetchall()
        if len(found) < count:
            raise ConfigurationError(
                f"Date `{day}` has {len(found)} orders that can change, not {count}. Ask for fewer, or replay the day.",
            )
        done = []
        for order_id, status, total in sorted(draw.sample(found, count)):
            if status in FLOW[:-1]:
                following = FLOW[FLOW.index(status) + 1]
                cursor.execute(
                    "UPDATE orders SET status = %s,"
                    " delivered_at = CASE WHEN %s = 'delivered' THEN clock_timestamp() END"
                    " WHERE order_id = %s AND status = %s RETURNING status, total::text, updated_at",
                    (following, following, order_id, status),
                )
                change = "advance"
            else:
                cents = draw.randint(1, max(1, int(total * 50)))
                cursor.execute(
                    "UPDATE orders SET discount = discount + LEAST(%s::numeric / 100, total),"
                    " total = total - LEAST(%s::numeric / 100, total) WHERE order_id = %s"
                    " RETURNING status, total::text, updated_at",
                    (cents, cents, order_id),
                )
                change = "refund"
            row = cursor.fetchone()
            if row is not None:
                done.append(
                    {
                        "order_id": order_id,
                        "change": change,
                        "status": row[0],
                        "total": row[1],
                        "updated_at": row[2].isoformat(),
                    }
                )
    return done
