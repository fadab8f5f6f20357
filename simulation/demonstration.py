"""What a demonstration of the platform shows of the simulated town: late changes, totals, questions, a comparison.

Add here what names a domain of the town; the order of a demonstration, and what counts as success, is
`infra.embedded.commands.demo`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg2
import pyarrow.compute as pc

from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.settings import Settings

LATE_CHANGES = {"events": 500, "orders": 40}
"""How many records `python -m simulation late` makes late, by domain."""

WARM_UP_DOMAIN = "events"


@dataclass(frozen=True)
class Total:
    """A sum over one date of a Gold table that late records change.

    Attributes:
        domain: The domain.
        table: Its Gold table.
        column: What is summed; also what the report calls it.
        scale: Digits after the point.
    """

    domain: str
    table: str
    column: str
    scale: int = 0


TOTALS = (
    Total("events", "events", "events"),
    Total("orders", "orders", "net_revenue", 2),
    Total("orders", "orders", "delivered"),
)

QUESTIONS = (
    (
        "Which cities earn most?",
        "SELECT CITY, SUM(ORDERS::NUMBER(38,0)) AS ORDERS, SUM(NET_REVENUE::NUMBER(38,2)) AS NET_REVENUE"
        " FROM {db}.ORDERS.ORDERS GROUP BY CITY ORDER BY NET_REVENUE DESC, CITY LIMIT 5",
    ),
    (
        "How many sessions reach each step of the funnel?",
        "SELECT EVENT_DATE, SUM(SESSIONS::NUMBER(38,0)) AS SESSIONS,"
        " SUM(RESTAURANT_VIEW::NUMBER(38,0)) AS RESTAURANT_VIEW,"
        " SUM(ADD_TO_CART::NUMBER(38,0)) AS ADD_TO_CART, SUM(CHECKOUT_START::NUMBER(38,0)) AS CHECKOUT_START,"
        " SUM(ORDER_PLACED::NUMBER(38,0)) AS ORDER_PLACED FROM {db}.EVENTS.EVENTS_FUNNEL GROUP BY EVENT_DATE"
        " ORDER BY EVENT_DATE DESC LIMIT 5",
    ),
    (
        "Which restaurants cancel most?",
        "SELECT RESTAURANT_ID, SUM(ORDERS::NUMBER(38,0)) AS ORDERS, SUM(CANCELLED::NUMBER(38,0)) AS CANCELLED,"
        " SUM(NET_REVENUE::NUMBER(38,2)) AS NET_REVENUE FROM {db}.ORDERS.ORDERS_BY_RESTAURANT"
        " GROUP BY RESTAURANT_ID ORDER BY CANCELLED DESC, RESTAURANT_ID LIMIT 5",
    ),
)


def source_difference(settings: Settings, catalog: Catalog, lake: Lake) -> list[str]:
    """Compare the orders of Silver with those of Postgres, value by value; return what differs, at most ten lines.

    Deleted orders count on neither side: one that was deleted for real is in Silver, marked, and not in Postgres.
    """
    names = ["order_id", "status", "total", "updated_at"]
    table = lake.delta(lake.silver(catalog["orders"])).to_pyarrow_table(columns=[*names, "deleted_at"])
    live = table.filter(pc.is_null(table["deleted_at"])).select(names)
    silver = {row["order_id"]: row for row in live.to_pylist()}
    with psycopg2.connect(settings.postgres_dsn.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT order_id, status, total, updated_at FROM orders WHERE deleted_at IS NULL")
        shop = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
    differences = [
        f"order {key}: Postgres {shop.get(key)}, Silver {silver.get(key)}"
        for key in sorted(shop.keys() | silver.keys())
        if shop.get(key) != silver.get(key)
    ]
    return differences[:10]


def warm_up_rows(domain: Domain, day: date, count: int) -> list[dict[str, Any]]:
    """Return rows of Bronze of `WARM_UP_DOMAIN` that pass its rules.

    Args:
        domain: The domain.
        day: Their date.
        count: How many.
    """
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return [
        {
            "event_id": str(n),
            "event_type": "search",
            domain.bronze.timestamp_col: at,
            "user_id": n % 50,
            "session_id": str(n % 90),
            "device_type": "web",
            "city": str(n % 5),
            "properties": '{"query": "x"}',
            "_topic": "warm-up",
            "_partition": 0,
            "_offset": n,
            "_kafka_timestamp": at,
            "_key": "1",
            "_ingested_at": at,
        }
        for n in range(count)
    ]
