"""The schedules: of each domain, which processes the day before at its hour, of maintenance, and of the audit.

A domain's runs the same tick as the sensor of `sensors.discovery_sensor`. There is no other automation on its assets:
the partition state machine owns retries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import Domain
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


MAINTENANCE_CRON = "30 3 * * *"
"""Between the day's end and the hour when a domain's day is processed, 06:00 UTC by default."""


def maintenance_schedule(name: str, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule that maintains a domain's tables, or the platform's own, once a day."""
    return dg.ScheduleDefinition(
        name=f"maintenance_{name}_daily",
        job=job,
        cron_schedule=MAINTENANCE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps tables small while nobody waits for them.",
    )


AUDIT_CRON = "0 9 * * *"
"""When the day before is in the warehouse, and somebody is at work who reads what it says."""


def audit_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule that audits once a day."""
    return dg.ScheduleDefinition(
        name="audit_daily",
        job=job,
        cron_schedule=AUDIT_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Proves that nothing was lost: `pdp audit` of what changed since the last one.",
    )


def daily_schedule(domain: Domain, settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule that processes the day before, and whatever else waits, at the domain's hour."""

    @dg.schedule(
        name=f"{job_name(domain)}_daily",
        job_name=job_name(domain),
        cron_schedule=domain.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks for late data first, then runs everything that waits, in the same pass.",
    )
    def at_the_hour(
        context: dg.ScheduleEvaluationContext, metadata_store: MetadataStore
    ) -> list[dg.RunRequest] | dg.SkipReason:
        # A cursor of its own: it looks at the newest dates, however far the sensor's slice has come.
        done = tick(domain, metadata_store, context.instance, DiscoveryCursor(), settings)
        context.log.info(f"{domain.name}: {done.summary}")
        return done.run_requests or dg.SkipReason(done.summary)

    return at_the_hour
