"""The whole graph on one screen: every domain of the catalog, and the resources that they share.

Each concept of Dagster has a file of its name: `assets`, `asset_checks`, `jobs`, `schedules`, `sensors`, `partitions`,
`resources`. Assembled by hand on purpose: loading from a folder of definitions imports every installed integration
(9-10 s of CPU against 0.03 s).
"""

from __future__ import annotations

import logging

import dagster as dg

from platform_assets.asset_checks.catalog import catalog_check
from platform_assets.asset_checks.offset_coverage import coverage_check
from platform_assets.asset_checks.watch import watch_checks
from platform_assets.assets.audit import audit_asset
from platform_assets.assets.external import bronze_spec, catalog_spec, source_specs, topic_spec
from platform_assets.assets.maintenance import domain_maintenance, platform_maintenance
from platform_assets.assets.pipeline import pipeline_assets
from platform_assets.jobs import audit_job, domain_job, maintenance_job
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.spark import SparkEndpoint
from platform_assets.resources.warehouse import Warehouse
from platform_assets.schedules import audit_schedule, daily_schedule, maintenance_schedule
from platform_assets.sensors.discovery_sensor import discovery_sensor
from platform_assets.sensors.offset_coverage import coverage_sensor
from platform_assets.sensors.watch import watch_sensor
from platform_core.domain.catalog import Catalog, Domain, configured_catalog
from platform_core.domain.catalog_checks import refuse_unreadable
from platform_core.errors import TransientError
from platform_core.lake.store_access import store_access
from platform_core.settings import Settings
from platform_core.settings import settings as environment

log = logging.getLogger(__name__)

RESOURCES = {
    "metadata_store": MetadataStore(),
    "spark_endpoint": SparkEndpoint(),
    "warehouse": Warehouse(),
}


def domain_defs(domain: Domain, settings: Settings) -> dg.Definitions:
    """Return everything that one entry of domains.yaml creates in Dagster."""
    pipeline = pipeline_assets(domain, settings)
    maintenance = domain_maintenance(domain, settings)
    upkeep = maintenance_job(domain.name, maintenance)
    watching = [watch_checks(domain), coverage_check(domain, settings)]
    return dg.Definitions(
        assets=[topic_spec(domain), bronze_spec(domain), pipeline, maintenance],
        asset_checks=watching,
        jobs=[domain_job(domain, pipeline, watching), upkeep],
        sensors=[discovery_sensor(domain, settings)],
        schedules=[daily_schedule(domain, settings), maintenance_schedule(domain.name, upkeep)],
    )


def build_defs(catalog: Catalog, settings: Settings | None = None) -> dg.Definitions:
    """Return the definitions of a catalog, with the settings of the environment by default.

    A domain of which none can be made is left out: the check `every_domain_runs` fails, and an alert is raised.
    """
    settings = settings or environment()
    of_domains: dict[str, dg.Definitions] = {}
    catalog = catalog.checked(lambda domain: of_domains.setdefault(domain.name, domain_defs(domain, settings)))
    for name, error in catalog.broken.items():
        log.error("domain_broken domain=%s error=%s", name, error)
    domains = dg.Definitions.merge(*of_domains.values())
    maintenance = platform_maintenance(settings)
    upkeep = maintenance_job("platform", maintenance)
    proof = audit_asset(catalog, settings)
    proving = audit_job(proof)
    platform = dg.Definitions(
        assets=[*source_specs(catalog), catalog_spec(), maintenance, proof],
        jobs=[upkeep, proving],
        schedules=[maintenance_schedule("platform", upkeep), audit_schedule(proving)],
        asset_checks=[catalog_check(catalog)],
        sensors=[watch_sensor(catalog, settings), coverage_sensor(catalog, settings)],
        resources=RESOURCES,
        # A run has one step: a process of its own for it would cost a second import of everything (5-8 s of CPU). It
        # must be the default, because a backfill of the UI runs no job of ours.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(domains, platform)


def _check_store(settings: Settings) -> None:
    """Let a location whose variables are wrong not load; an outage is a pause, which ticks and runs wait out."""
    try:
        store_access(settings).check(writes=True)
    except TransientError as error:
        log.error("store_down error=%s", error)


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the catalog that `DOMAINS_FILE` names."""
    settings = environment()
    _check_store(settings)
    catalog = configured_catalog(settings)
    return build_defs(catalog.checked(refuse_unreadable), settings)
