"""Restaurants per city and cuisine: how many, how many open, how rated, what the menu costs.

A deleted restaurant is left out. Averages are computed on integers and rounded half up, because the scale of a
decimal quotient differs between Spark and Sail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainAggregation

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
            .groupBy("snapshot_date", "city", "cuisine")
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
            "restaurants",
            "open_restaurants",
            _hundredths("rating_hundredths", "rated").cast("decimal(4,2)").alias("average_rating"),
            "menu_items",
            _hundredths("menu_cents", "menu_items").cast("decimal(12,2)").alias("average_price"),
        )


def _menu_cents() -> Column:
    return F.aggregate(
        "menu_items", F.lit(0).cast("bigint"), lambda total, item: total + (item["price"] * 100).cast("bigint")
    )


def _hundredths(total: str, number: str) -> Column:
    """Return total/number, both integers and not negative, as a decimal of hundredths; NULL for number 0."""
    rounded = F.expr(f"(2 * `{total}` + `{number}`) div nullif(2 * `{number}`, 0)")
    return rounded.cast("decimal(16,0)") * F.lit("0.01").cast("decimal(2,2)")
