"""The sensor `discover_<domain>`: it finds new and late Bronze and launches what is due.

One tick, which the schedule runs too, belongs to `discover`.
"""

import dagster as dg

from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discover import announcements, tick
from platform_core.domain.catalog import Domain
from platform_core.partitions.scan import Position
from platform_core.settings import settings


def discovery_sensor(domain: Domain) -> dg.SensorDefinition:
    """Return the domain's sensor."""

    @dg.sensor(
        name=f"discover_{domain.name}",
        job_name=job_name(domain),
        minimum_interval_seconds=settings().discovery_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares Bronze with partition_meta; launches PENDING, LATE and RETRYING dates.",
    )
    def discover(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        before = Position.from_json(context.cursor)
        found = tick(domain, metadata_store, context.instance, before, announcements(domain.name))
        context.log.info(f"{domain.name}: {found.summary}")
        return dg.SensorResult(
            run_requests=found.run_requests,
            asset_events=found.bronze,
            cursor=(found.position or before).to_json(),
        )

    return discover
