"""One row per event of the app, its properties parsed.

Only columns are made here; which events are good is said by the rules in domains.yaml. A property that has no field
of its own is still in `properties_json`, and so is one that was unreadable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from platform_core.domain.plugin import BaseDomainTransform
from plugin_kit.json_columns import struct_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from platform_core.domain.catalog import Domain


class Transform(BaseDomainTransform):
    """Parses `properties` into a struct and keeps its text."""

    def transform(self, df: DataFrame, cfg: Domain) -> DataFrame:
        """Return the typed event; `properties` becomes a struct, its JSON text `properties_json`."""
        properties = struct_of(
            "properties", query="string", menu_item_id="bigint", quantity="bigint", payment_method="string"
        )
        return df.withColumns({"properties_json": F.col("properties"), "properties": properties})
