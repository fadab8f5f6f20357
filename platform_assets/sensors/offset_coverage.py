"""The sensor `offset_coverage`: it compares committed offsets with Bronze, and raises an alert for each gap.

What is judged belongs to `platform_assets.asset_checks.offset_coverage`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from alerting.channels import Channel, configured
from alerting.collect import offset_gap_alert
from alerting.dispatch import dispatch
from platform_assets.asset_checks.offset_coverage import MakeCoverage, evaluate, open_coverage
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.last_reported import LastReported
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog
from platform_core.lake.alerts import Alert, AlertLog
from platform_core.settings import Settings

if TYPE_CHECKING:
    from audit.offset_coverage.coverage import Coverage, CoverageReport

INTERVAL_SECONDS = 60


def coverage_sensor(
    catalog: Catalog,
    settings: Settings,
    channels: Callable[[], Sequence[Channel]] | None = None,
    clock: Clock | None = None,
    coverage: MakeCoverage | None = None,
) -> dg.SensorDefinition:
    """Return the sensor that compares committed offsets with Bronze and sends an alert for each gap.

    Args:
        channels: Makes the channels, once a process; those of the settings by default.
        coverage: Makes the comparison, once a process.
    """
    clock, make = clock or SystemClock(), coverage or open_coverage
    made: list[Channel] = []
    comparison: list[Coverage] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name="offset_coverage",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Committed offsets against Bronze and the dead letters: an alert for each gap.",
    )
    def offset_coverage(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        made[:] = made or (channels() if channels else configured(settings))
        comparison[:] = comparison or [make(settings, metadata_store.lake(), catalog)]
        report, now, before = comparison[0].update(), clock.now(), LastReported.from_json(context.cursor)
        outcomes = [evaluate(domain, report) for domain in catalog]
        done = dispatch(AlertLog(metadata_store.lake(), clock), gap_alerts(report, settings.ui_url), made, clock)
        # Before the first look nothing is known, which is no outcome.
        due = [o for o in outcomes if report.looked_at is not None and before.is_due(o, now)]
        failed = ", ".join(outcome.id for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"offset_coverage: complete={report.complete}, gaps in: {failed or 'none'}; {done.raised} alerts raised,"
            f" {done.sent} deliveries, {done.failed} failed deliveries"
        )
        return dg.SensorResult(
            asset_events=[outcome.evaluation() for outcome in due],
            cursor=before.after(outcomes, due, now).to_json(),
        )

    return offset_coverage


def gap_alerts(report: "CoverageReport", ui_url: str) -> list[Alert]:
    """Return the alert of each gap, known or not."""
    return [
        offset_gap_alert(
            gap.domain,
            gap.topic,
            gap.partition,
            gap.first,
            gap.last,
            ui_url,
            gap.found_at,
            still_in_kafka=gap.still_in_kafka,
        )
        for offsets in report.domains.values()
        for gap in offsets.gaps
    ]
