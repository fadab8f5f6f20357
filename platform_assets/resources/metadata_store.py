"""The lake and partition_meta as one resource: what sensors and runs look at before anything starts.

Both are cheap to open and hold no connection, so each tick and run opens its own.
"""

from __future__ import annotations

import dagster as dg

from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.settings import settings


class MetadataStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Gives the lake of `LAKE_URI` and its partition_meta."""

    def lake(self) -> Lake:
        """Return the lake."""
        return Lake(settings())

    def partitions(self) -> DeltaPartitionMeta:
        """Return the store of partition states."""
        return DeltaPartitionMeta(self.lake())
