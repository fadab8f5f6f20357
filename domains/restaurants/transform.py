"""One row per restaurant and date, its latest snapshot, its menu parsed.

Only columns are made here; which snapshots are good is said by the rules in domains.yaml. A menu may be empty, but
every item on it must be readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainTransform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from platform_core.domain.catalog import Domain

# Cast after parsing: in Sail, from_json fails the whole query for a price that is not a decimal, where Spark yields
# NULL.
_MENU = "array<struct<menu_item_id: bigint, name: string, category: string, price: string, is_available: boolean>>"
_PRICE = r"^-?[0-9]+([.][0-9]+)?$"


class Transform(BaseDomainTransform):
    """Parses `menu_items` into an array of items."""

    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Return the snapshot with `menu_items` as an array, NULL when any item of it is unreadable."""
        menu = F.transform(F.from_json("menu_items", _MENU), _item)
        return df.withColumn("menu_items", F.when(~F.exists(menu, _is_unreadable), menu))


def _item(item: Column) -> Column:
    fields = F.struct(
        item["menu_item_id"].alias("menu_item_id"),
        item["name"].alias("name"),
        item["category"].alias("category"),
        # Only Spark reads 1e3 as a decimal, so neither may.
        F.when(item["price"].rlike(_PRICE), item["price"]).try_cast("decimal(12,2)").alias("price"),
        item["is_available"].alias("is_available"),
    )
    return F.when(item.isNotNull(), fields)


def _is_unreadable(item: Column) -> Column:
    return (
        item["menu_item_id"].isNull()
        | item["name"].isNull()
        | item["category"].isNull()
        | item["price"].isNull()
        | item["is_available"].isNull()
    )
