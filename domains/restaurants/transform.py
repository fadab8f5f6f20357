"""One row per restaurant and date, its latest snapshot, its menu parsed.

Only columns are made here; which snapshots are good is said by the rules in domains.yaml. A menu may be empty, but
every item on it must be readable. A snapshot of before menus said their currency has prices in EUR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainTransform
from plugin_kit.decimals import MONEY
from plugin_kit.json_columns import list_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from platform_core.domain.catalog import Domain

_FIRST_CURRENCY = "EUR"


class Transform(BaseDomainTransform):
    """Parses `menu_items` into an array of items."""

    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Return the snapshot with its currency, and `menu_items` as an array, NULL when any item is unreadable."""
        menu = list_of(
            "menu_items", menu_item_id="bigint", name="string", category="string", price=MONEY, is_available="boolean"
        )
        return df.withColumns({"menu_items": menu, "currency": F.coalesce("currency", F.lit(_FIRST_CURRENCY))})
