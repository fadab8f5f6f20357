"""What starts runs: a domain's discovery sensor, its 06:00 UTC schedule, and the job that both launch.

Both trigger the same tick. There is no other automation on domain assets: the partition state machine owns retries.
"""

import dagster as dg

from platform_assets.assets.pipeline import bronze_spec, job_name, pipeline_assets
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.discover import announcements, tick
from platform_assets.sensors.offset_coverage import coverage_check
from platform_assets.sensors.watch import watch_checks
from platform_core.domain.catalog import Domain
from platform_core.partitions.scan import Position
from platform_core.settings import settings


def discovery_sensor(domain: Domain) -> dg.SensorDefinition:
    """Return the sensor that finds new and late Bronze and launches what is due."""

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


def daily_schedule(domain: Domain) -> dg.ScheduleDefinition:
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
        # A position of its own: it looks at the newest dates, however far the sensor's slice has come.
        found = tick(domain, metadata_store, context.instance, Position())
        context.log.info(f"{domain.name}: {found.summary}")
        return found.run_requests or dg.SkipReason(found.summary)

    return at_the_hour


def domain_definitions(domain: Domain) -> dg.Definitions:
    """Return everything that one entry of domains.yaml creates in Dagster."""
    assets = pipeline_assets(domain)
    watched = [watch_checks(domain), coverage_check(domain)]
    job = dg.define_asset_job(
        job_name(domain),
        selection=dg.AssetSelection.assets(*assets.keys) - dg.AssetSelection.checks(*watched),
        description=f"{domain.description}: Bronze to warehouse, for the dates that discovery or a person chose.",
        tags={"pdp/domain": domain.name},
        # One step: a process of its own for it would cost a second import of everything (5-8 s of CPU).
        executor_def=dg.in_process_executor,
    )
    return dg.Definitions(
        assets=[bronze_spec(domain), assets],
        asset_checks=watched,
        jobs=[job],
        sensors=[discovery_sensor(domain)],
        schedules=[daily_schedule(domain)],
    )
