"""The asset keys of a domain, from its source (`postgres/<table>`) by `kafka/<topic>` to `snowflake/<d>`.

Only names live here; what an asset is belongs to `external` and `pipeline`.
"""

import dagster as dg

from platform_core.domain.catalog import Domain
from platform_core.domain.source import PostgresTable

PLATFORM_OWNER = "team:platform"
"""Who looks after what belongs to no domain."""

CATALOG_KEY = dg.AssetKey(["platform", "domains"])
"""Key of the list of domains."""

AUDIT_KEY = dg.AssetKey(["platform", "audit"])
"""Key of the proof that nothing was lost."""


def maintenance_key(name: str) -> dg.AssetKey:
    """Key of the maintenance of a domain's tables, or of the platform's own."""
    return dg.AssetKey(["maintenance", name])


def source_keys(domain: Domain) -> list[dg.AssetKey]:
    """Keys of what the domain's producer reads: tables, or whatever else its source is; none without a producer."""
    source = domain.source
    if source is None:
        return []
    if not isinstance(source, PostgresTable):
        return [dg.AssetKey([source.kind, domain.name])]
    tables = [domain.source_table, domain.tombstone_table]
    return [dg.AssetKey(["postgres", *table.split(".")]) for table in tables if table]


def topic_key(domain: Domain) -> dg.AssetKey:
    """Key of the domain's Kafka topic."""
    return dg.AssetKey(["kafka", domain.topic.name])


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
