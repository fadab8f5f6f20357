"""One row per order, the latest version of it, its lines parsed.

Only columns are made here; which orders are good is said by the rules in domains.yaml. Money stays the exact decimal
that the contract says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainTransform

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from platform_core.domain.catalog import Domain

# Cast after parsing: in Sail, from_json wraps a number too large for INT, and fails the whole query for a price that
# is not a decimal, where Spark yields NULL.
_LINES = "array<struct<menu_item_id: bigint, name: string, quantity: bigint, unit_price: string>>"
_PRICE = r"^-?[0-9]+([.][0-9]+)?$"


class Transform(BaseDomainTransform):
    """Parses `items` into an array of lines."""

    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Return the order with `items` as an array, NULL when any line of it is unreadable."""
        lines = F.transform(F.from_json("items", _LINES), _line)
        return df.withColumn("items", F.when(~F.exists(lines, _is_unreadable), lines))


def _line(line: Column) -> Column:
    fields = F.struct(
        line["menu_item_id"].alias("menu_item_id"),
        line["name"].alias("name"),
        line["quantity"].try_cast("int").alias("quantity"),
        # Only Spark reads 1e3 as a decimal, so neither may.
        F.when(line["unit_price"].rlike(_PRICE), line["unit_price"]).try_cast("decimal(12,2)").alias("unit_price"),
    )
    return F.when(line.isNotNull(), fields)


def _is_unreadable(line: Column) -> Column:
    return (
        line["menu_item_id"].isNull() | line["name"].isNull() | line["quantity"].isNull() | line["unit_price"].isNull()
    )
