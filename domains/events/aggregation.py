"""Events per hour, city and device, and the conversion funnel per city.

A city that is not known is `unknown`, because a merge key of NULL is not a group anyone can ask for. Counts are
exact; conversions are exact decimals.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainAggregation
from plugin_kit.decimals import quotient

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import Column, DataFrame

    from platform_core.domain.catalog import Domain

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
FUNNEL = ("app_open", "restaurant_view", "add_to_cart", "checkout_start", "order_placed")

_UNKNOWN = "unknown"


class Aggregation(BaseDomainAggregation):
    """Gold tables `events` and `events_funnel`."""

    def aggregate(self, df: DataFrame, cfg: Domain, dt: date) -> DataFrame | dict[str, DataFrame]:
        """Return both tables of the date."""
        return {"events": _hourly(df), "events_funnel": _funnel(df)}


def _hourly(df: DataFrame) -> DataFrame:
    keys = ("event_date", "event_hour", "city", "device_type")
    # Visits first: distinct counts make Spark send every row three times, and there are fewer visits than events.
    visits = (
        df.withColumns({"event_hour": F.hour("event_timestamp"), "city": F.coalesce(F.col("city"), F.lit(_UNKNOWN))})
        .groupBy(*keys, "user_id", "session_id")
        .agg(
            F.count(F.lit(1)).alias("events"),
            *[F.count(F.when(F.col("event_type") == name, True)).alias(name) for name in EVENT_TYPES],
        )
    )
    return visits.groupBy(*keys).agg(
        F.sum("events").alias("events"),
        F.count_distinct("user_id").alias("users"),
        F.count_distinct("session_id").alias("sessions"),
        *[F.sum(name).alias(name) for name in EVENT_TYPES],
    )


def _funnel(df: DataFrame) -> DataFrame:
    # A session whose events name two cities belongs to the first by name, so that it is counted once.
    sessions = df.groupBy("event_date", "session_id").agg(
        F.coalesce(F.min("city"), F.lit(_UNKNOWN)).alias("city"),
        *[F.max((F.col("event_type") == step).cast("int")).alias(step) for step in FUNNEL],
    )
    reached = {}
    so_far = F.lit(1)
    for step in FUNNEL:
        so_far = so_far * F.col(step)
        reached[step] = F.sum(so_far).alias(step)
    counts = sessions.groupBy("event_date", "city").agg(F.count(F.lit(1)).alias("sessions"), *reached.values())
    return counts.select(
        "event_date",
        "city",
        "sessions",
        *FUNNEL,
        *[_conversion(step, before).alias(f"{step}_conversion") for before, step in pairwise(FUNNEL)],
        _conversion(FUNNEL[-1], FUNNEL[0]).alias("total_conversion"),
    )


def _conversion(part: str, whole: str) -> Column:
    return quotient(f"1000000 * `{part}`", f"`{whole}`", "decimal(9,6)")
