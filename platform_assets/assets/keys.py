"""The asset keys of a domain: `bronze/<d>`, `silver/<d>`, `gold/<table>`, `snowflake/<d>`.

Only names live here; what an asset is belongs to `external` and `pipeline`.
"""

import dagster as dg

from platform_core.domain.catalog import Domain


def bronze_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's Bronze asset."""
    return dg.AssetKey(["bronze", domain.name])


def silver_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's Silver asset."""
    return dg.AssetKey(["silver", domain.name])


def gold_key(table: str) -> dg.AssetKey:
    """Key of one Gold asset; table names are unique over all domains."""
    return dg.AssetKey(["gold", table])


def warehouse_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's tables in the warehouse."""
    return dg.AssetKey(["snowflake", domain.name])
