"""Orders per city and per restaurant: how many, how much money, how fast.

A deleted order is in neither table, and a cancelled one earns nothing. Amounts are of one currency, which is a key of
both tables. Money is summed exactly; averages and percentiles are rounded half up, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainAggregation
from plugin_kit.decimals import SUM_OF_MONEY, quotient, sum_of_money

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import Column, DataFrame

    from platform_core.domain.catalog import Domain

_HUNDREDTH_OF_A_MINUTE_US = 600_000


class Aggregation(BaseDomainAggregation):
    """Gold tables `orders` and `orders_by_restaurant`."""

    def aggregate(self, df: DataFrame, cfg: Domain, dt: date) -> DataFrame | dict[str, DataFrame]:
        """Return both tables of the date."""
        earns = F.col("status") != "cancelled"
        is_delivered = F.col("status") == "delivered"
        orders = df.where(F.col("deleted_at").isNull()).select(
            "order_date",
            "city",
            "restaurant_id",
            "currency",
            is_delivered.alias("is_delivered"),
            earns.alias("earns"),
            F.when(earns, F.col("subtotal") + F.col("delivery_fee")).alias("gross"),
            F.when(earns, F.col("discount")).alias("discount"),
            F.when(earns, F.col("total")).alias("net"),
            F.when(earns, _pieces("items")).alias("pieces"),
            F.when(is_delivered, F.unix_micros("delivered_at") - F.unix_micros("created_at")).alias("delivery_us"),
        )
        return {"orders": _by_city(orders), "orders_by_restaurant": _by_restaurant(orders)}


def _by_city(orders: DataFrame) -> DataFrame:
    grouped = orders.groupBy("order_date", "city", "currency").agg(
        *_measures(),
        sum_of_money("discount").alias("discounts"),
        F.sort_array(F.collect_list("delivery_us")).alias("times"),
    )
    return grouped.select(
        "order_date",
        "city",
        "currency",
        "orders",
        "delivered",
        "cancelled",
        "gross_revenue",
        "discounts",
        "net_revenue",
        _average_order_value(),
        "items",
        _percentile_minutes("times", 50).alias("median_delivery_minutes"),
        _percentile_minutes("times", 95).alias("p95_delivery_minutes"),
    )


def _by_restaurant(orders: DataFrame) -> DataFrame:
    grouped = orders.groupBy("order_date", "restaurant_id", "currency").agg(*_measures())
    return grouped.select(
        "order_date",
        "restaurant_id",
        "currency",
        "orders",
        "delivered",
        "cancelled",
        "gross_revenue",
        "net_revenue",
        _average_order_value(),
        "items",
    )


def _measures() -> list[Column]:
    return [
        F.count(F.lit(1)).alias("orders"),
        F.count(F.when(F.col("is_delivered"), True)).alias("delivered"),
        F.count(F.when(~F.col("earns"), True)).alias("cancelled"),
        sum_of_money("gross").alias("gross_revenue"),
        sum_of_money("net").alias("net_revenue"),
        F.count("net").alias("earning"),
        F.coalesce(F.sum("pieces"), F.lit(0)).cast("bigint").alias("items"),
    ]


def _pieces(items: str) -> Column:
    return F.aggregate(items, F.lit(0).cast("bigint"), lambda total, line: total + line["quantity"].cast("bigint"))


def _average_order_value() -> Column:
    """Return net revenue per order that earned, NULL for none."""
    return quotient("cast(net_revenue * 100 as bigint)", "earning", SUM_OF_MONEY).alias("average_order_value")


def _percentile_minutes(sorted_us: str, percent: int) -> Column:
    """Return a percentile of a sorted array of microseconds, in minutes, as SQL's `percentile_cont` has it.

    Between two ranks it is interpolated linearly, and rounded half up to hundredths once, at the end; NULL for an
    empty array, and when it does not fit.
    """
    position = f"((size({sorted_us}) - 1) * {percent})"
    below = f"get({sorted_us}, {position} div 100)"
    above = f"coalesce(get({sorted_us}, {position} div 100 + 1), {below})"
    weight = f"bigint({position} % 100)"
    hundredfold_us = f"try_add(try_multiply({below}, 100L - {weight}), try_multiply({above}, {weight}))"
    unit = 100 * _HUNDREDTH_OF_A_MINUTE_US
    return quotient(hundredfold_us, str(unit), "decimal(10,2)")
