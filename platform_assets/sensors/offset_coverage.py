"""The sensor `offset_coverage`: it compares committed offsets with Bronze, and raises an alert for each gap.

What is judged belongs to `platform_assets.asset_checks.offset_coverage`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from alerting.channels import Channel
from alerting.collect import offset_gap_alert
from platform_assets.asset_checks.offset_coverage import MakeCoverage, evaluate, open_coverage
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.check_reporter import CheckReporter
from platform_core.clock import Clock
from platform_core.domain.catalog import Catalog
from platform_core.settings import Settings

if TYPE_CHECKING:
    from audit.offset_coverage.coverage import Coverage

INTERVAL_SECONDS = 60


def coverage_sensor(
    catalog: Catalog,
    settings: Settings,
    channels: Callable[[], Sequence[Channel]] | None = None,
    clock: Clock | None = None,
    coverage: MakeCoverage = open_coverage,
) -> dg.SensorDefinition:
    """Return the sensor that compares committed offsets with Bronze and sends an alert for each gap.

    Args:
        channels: Makes the channels, once a process; those of the settings by default.
        coverage: Makes the comparison, once a process.
    """
    reporter = CheckReporter(settings, channels, clock)
    comparison: list[Coverage] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name="offset_coverage",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Committed offsets against Bronze and the dead letters: an alert for each gap.",
    )
    def offset_coverage(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        reporter.require_lake(context, metadata_store)
        comparison[:] = comparison or [coverage(settings, metadata_store.lake(), catalog)]
        report = comparison[0].update()
        # Before the first look nothing is known, which is no outcome.
        outcomes = [evaluate(domain, report) for domain in catalog] if report.looked_at is not None else []
        gaps = [gap for offsets in report.domains.values() for gap in offsets.gaps]
        context.log.info(f"complete={report.complete}, gaps: {len(gaps)}")
        return reporter.report(
            context, metadata_store, outcomes, [offset_gap_alert(gap, settings.ui_url) for gap in gaps]
        )

    return offset_coverage
