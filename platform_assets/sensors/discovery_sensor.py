"""The sensor `discover_<domain>`: it finds new and late Bronze and launches what is due.

One tick, which the schedule runs too, belongs to `discovery_tick`.
"""

from typing import TYPE_CHECKING

import dagster as dg

from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import Domain
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.settings import Settings

if TYPE_CHECKING:
    from platform_kafka.announcements import Announcements


def discovery_sensor(domain: Domain, settings: Settings) -> dg.SensorDefinition:
    """Return the domain's sensor."""
    ledger: list[Announcements] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name=f"discover_{domain.name}",
        job_name=job_name(domain),
        minimum_interval_seconds=settings.discovery_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares Bronze with partition_meta; launches PENDING, LATE and RETRYING dates.",
    )
    def discover(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        ledger[:] = ledger or [_announcements(settings)]
        before = DiscoveryCursor.from_json(context.cursor)
        done = tick(domain, metadata_store, context.instance, before, settings, ledger[0])
        context.log.info(f"{domain.name}: {done.summary}")
        return dg.SensorResult(
            run_requests=done.run_requests,
            asset_events=done.bronze,
            cursor=(done.cursor or before).to_json(),
        )

    return discover


def _announcements(settings: Settings) -> "Announcements":
    # Imported late: the Kafka client takes 0.1 s, and not every process of the orchestrator ticks.
    from platform_kafka.announcements import Announcements

    return Announcements(settings)
