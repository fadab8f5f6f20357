"""Restaurants per city, cuisine and currency: how many, how many open, how rated, what the menu costs.

A deleted restaurant is left out. Prices are of one currency, which is a key. Averages are exact, rounded half up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainAggregation
from plugin_kit.decimals import MONEY, quotient

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import Column, DataFrame

    from platform_core.domain.catalog import Domain


class Aggregation(BaseDomainAggregation):
    """Gold table `restaurants`."""

    def aggregate(self, df: DataFrame, cfg: Domain, dt: date) -> DataFrame | dict[str, DataFrame]:
        """Return the table of the date; a rating that is NULL does not count, and every item counts once."""
        grouped = (
            df.where(F.col("deleted_at").isNull())
            .groupBy("snapshot_date", "city", "cuisine", "currency")
            .agg(
                F.count(F.lit(1)).alias("restaurants"),
                F.count(F.when(F.col("is_open"), True)).alias("open_restaurants"),
                F.sum((F.col("rating") * 100).cast("bigint")).alias("rating_hundredths"),
                F.count("rating").alias("rated"),
                F.sum(F.size("menu_items")).cast("bigint").alias("menu_items"),
                F.sum(_menu_cents()).alias("menu_cents"),
            )
        )
        return grouped.select(
            "snapshot_date",
            "city",
            "cuisine",
            "currency",
            "restaurants",
            "open_restaurants",
            quotient("rating_hundredths", "rated", "decimal(4,2)").alias("average_rating"),
            "menu_items",
            quotient("menu_cents", "menu_items", MONEY).alias("average_price"),
        )


def _menu_cents() -> Column:
    return F.aggregate(
        "menu_items", F.lit(0).cast("bigint"), lambda total, item: total + (item["price"] * 100).cast("bigint")
    )
