"""What is reported to Dagster of a date of Bronze, which the sink writes and nobody here materializes.

Two events say the same: the materialization fills the partition in the UI, and the observation carries the data
version by which Dagster compares an external asset with what was made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from platform_assets.assets.keys import bronze_key
from platform_core.domain.catalog import Domain

DATA_VERSION = "dagster/data_version"

BronzeEvent = dg.AssetMaterialization | dg.AssetObservation


def bronze_events(domain: Domain, day: date, fingerprint: str, metadata: Mapping[str, Any]) -> list[BronzeEvent]:
    """Return the events of a date whose Bronze is new or changed.

    Args:
        fingerprint: md5 of its files, the data version.
        metadata: What the catalog shows.
    """
    what: dict[str, Any] = {
        "asset_key": bronze_key(domain),
        "partition": day.isoformat(),
        "metadata": metadata,
        "tags": {DATA_VERSION: fingerprint},
    }
    return [dg.AssetMaterialization(**what), dg.AssetObservation(**what)]
