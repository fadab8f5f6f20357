"""The sensor `watch`: it evaluates the watch checks of all domains, reports what changed, and raises alerts.

What is judged belongs to `platform_assets.asset_checks.watch`, what is an alert to `alerting.collect`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import dagster as dg

from alerting import collect
from alerting.channels import Channel
from alerting.dispatch import LAKE_ERRORS
from platform_assets.asset_checks.catalog import evaluate as catalog_outcome
from platform_assets.asset_checks.watch import evaluate
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.check_reporter import CheckReporter, Inbox
from platform_assets.sensors.failed_runs import failed_runs
from platform_assets.sensors.last_reported import LastReported
from platform_core.clock import Clock
from platform_core.domain.catalog import Catalog
from platform_core.lake.alerts import Alert
from platform_core.partitions.freshness import freshness
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from platform_core.settings import Settings

INTERVAL_SECONDS = 30

OVERLAP = timedelta(minutes=10)
"""Looked at again each time: a history line is written after its time was taken, and clocks of two hosts differ."""

FIRST_LOOK = timedelta(hours=1)
"""How far back a watch without a cursor looks for failures; what failed before it existed is not news."""


def open_inbox(settings: Settings) -> Inbox:
    """Return the reader of the topic of alerts."""
    from alerting.posted_alerts import PostedAlerts

    return PostedAlerts(settings).read


def watch_sensor(
    catalog: Catalog,
    settings: Settings,
    channels: Callable[[], Sequence[Channel]] | None = None,
    clock: Clock | None = None,
    posted: Callable[[Settings], Inbox] = open_inbox,
) -> dg.SensorDefinition:
    """Return the sensor that evaluates the watch checks of all domains and sends alerts.

    Args:
        channels: Makes the channels, once a process; those of the settings by default.
        posted: Makes the reader of what producers and the sink have posted, once a process.
    """
    reporter = CheckReporter(settings, channels, clock)
    inbox: list[Inbox] = []  # it keeps its connection to Kafka between ticks

    @dg.sensor(
        name="watch",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Freshness against the SLA, DEAD dates, failed checks and runs: alerts to Kafka and Slack.",
    )
    def watch(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        inbox[:] = inbox or [posted(settings)]
        try:
            reporter.require_lake(context, metadata_store)
            return look(context, metadata_store)
        except LAKE_ERRORS as error:
            return reporter.report_without_lake(context, metadata_store.lake().root, error, inbox[0])

    def look(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        now, partitions = reporter.clock.now(), metadata_store.partitions()
        rows = partitions.rows()
        outcomes = [catalog_outcome(catalog), *(each for domain in catalog for each in evaluate(domain, rows, now))]
        since = (LastReported.from_json(context.cursor).looked_at or now - FIRST_LOOK) - OVERLAP
        alerts = find_alerts(catalog, partitions, rows, context.instance, settings.ui_url, since, now)
        return reporter.report(context, metadata_store, outcomes, alerts, inbox[0])

    return watch


def find_alerts(
    catalog: Catalog,
    partitions: PartitionMetaReader,
    rows: Sequence[Partition],
    instance: dg.DagsterInstance,
    ui_url: str,
    since: datetime,
    now: datetime,
) -> list[Alert]:
    """Return all alerts that can be seen, known or not, in the order in which they happened.

    Args:
        partitions: For the history.
        rows: All rows of partition_meta.
        instance: For the failed runs.
        ui_url: Base URL of Dagster's UI.
        since: How far back history and runs are looked at, UTC.
        now: The moment to judge, UTC.
    """
    history = partitions.history(since=since)
    runs = failed_runs(instance, catalog, since)
    # A long run's dates failed before it ended: their lines may be older than the window.
    earlier = {domain for domain in (run.domain for run in runs) if domain is not None}
    of_runs = [t for domain in sorted(earlier) for t in partitions.history(domain, since=since - timedelta(days=1))]
    alerts = [
        *collect.dead_alerts(rows, history, ui_url),
        *collect.illegal_alerts(rows, ui_url),
        *collect.check_alerts(rows, history, ui_url),
        *collect.sla_alerts([freshness(domain, rows, now) for domain in catalog], ui_url),
        *collect.run_alerts(runs, of_runs, ui_url),
        *collect.broken_domain_alerts(catalog.broken, now, ui_url),
        *collect.removed_domain_alerts({*catalog.names, *catalog.broken}, rows, ui_url),
    ]
    return sorted(alerts, key=lambda alert: alert.at)
