"""The whole graph on one screen: every domain of the catalog, and the resources that they share.

Add a resource here; what one domain consists of is `automation.domain_definitions`. Assembled by hand on purpose:
loading from a folder of definitions imports every installed integration (9-10 s of CPU against 0.03 s).
"""

from __future__ import annotations

import dagster as dg

from platform_assets.domain import domain_definitions
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.spark import SparkEndpoint
from platform_assets.resources.warehouse import Warehouse
from platform_assets.sensors.offset_coverage import coverage_sensor
from platform_assets.sensors.watch import watch_sensor
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.settings import settings

RESOURCES = {
    "metadata_store": MetadataStore(),
    "spark_endpoint": SparkEndpoint(),
    "warehouse": Warehouse(),
}


def build_defs(catalog: Catalog, resources: dict[str, object] | None = None) -> dg.Definitions:
    """Return the definitions of a catalog.

    Args:
        catalog: The domains.
        resources: Replacements by name, for tests.
    """
    domains = dg.Definitions.merge(*(domain_definitions(domain) for domain in catalog))
    platform = dg.Definitions(
        sensors=[watch_sensor(catalog), coverage_sensor(catalog)], resources={**RESOURCES, **(resources or {})}
    )
    return dg.Definitions.merge(domains, platform)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the catalog that `DOMAINS_FILE` names."""
    return build_defs(load_catalog(settings().domains_file))
