"""One row per order, the latest version of it, its lines parsed.

Only columns are made here; which orders are good is said by the rules in domains.yaml. Money stays the exact decimal
that the contract says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.domain.plugin import BaseDomainTransform
from plugin_kit.decimals import MONEY
from plugin_kit.json_columns import list_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from platform_core.domain.catalog import Domain


class Transform(BaseDomainTransform):
    """Parses `items` into an array of lines."""

    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Return the order with `items` as an array, NULL when any line of it is unreadable."""
        lines = list_of("items", menu_item_id="bigint", name="string", quantity="int", unit_price=MONEY)
        return df.withColumn("items", lines)
