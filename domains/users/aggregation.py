"""Users who changed on a date, per city and tier: how many, how many of them new, how many active.

A user who was deleted has changed too, but is not active. The date is the day of the increment, not of the change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainAggregation

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import DataFrame

    from platform_core.domain.catalog import Domain


class Aggregation(BaseDomainAggregation):
    """Gold table `users`."""

    def aggregate(self, df: DataFrame, cfg: Domain, dt: date) -> DataFrame | dict[str, DataFrame]:
        """Return the table of the date."""
        return df.groupBy("snapshot_date", "city", "tier").agg(
            F.count(F.lit(1)).alias("changed_users"),
            F.count(F.when(F.to_date("created_at") == F.lit(dt), True)).alias("new_users"),
            F.count(F.when(F.col("is_active") & F.col("deleted_at").isNull(), True)).alias("active_users"),
        )
