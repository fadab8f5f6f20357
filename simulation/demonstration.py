"""What a demonstration of the platform shows of the simulated town: late changes, totals, questions.

Add here what names a domain of the town; the order of a demonstration, and what counts as success, is
`infra.embedded.commands.demo`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from platform_core.domain.catalog import Domain

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
