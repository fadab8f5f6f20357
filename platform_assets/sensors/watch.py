"""The sensor `watch`: it evaluates the watch checks of all domains, reports what changed, and raises alerts.

What is judged belongs to `platform_assets.asset_checks.watch`, what is an alert to `alerting.collect`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from alerting import collect
from alerting.channels import Channel, configured
from alerting.dispatch import dispatch
from platform_assets.asset_checks.watch import evaluate
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.failed_runs import failed_runs
from platform_assets.sensors.last_reported import LastReported
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog
from platform_core.lake.alerts import Alert, AlertLog
from platform_core.partitions.freshness import freshness
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from platform_core.settings import Settings

INTERVAL_SECONDS = 30

OVERLAP = timedelta(minutes=10)
"""Looked at again each time: a history line is written after its time was taken, and clocks of two hosts differ."""

FIRST_LOOK = timedelta(hours=1)
"""How far back a watch without a cursor looks for failures; what failed before it existed is not news."""


def watch_sensor(
    catalog: Catalog,
    settings: Settings,
    channels: Callable[[], Sequence[Channel]] | None = None,
    clock: Clock | None = None,
) -> dg.SensorDefinition:
    """Return the sensor that evaluates the watch checks of all domains and sends alerts.

    Args:
        channels: Makes the channels, once a process; those of the settings by default.
    """
    clock = clock or SystemClock()
    made: list[Channel] = []  # a Kafka producer keeps its connection between ticks

    @dg.sensor(
        name="watch",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Freshness against the SLA, DEAD dates, failed checks and runs: alerts to Kafka and Slack.",
    )
    def watch(context: dg.SensorEvaluationContext, metadata_store: MetadataStore) -> dg.SensorResult:
        made[:] = made or (channels() if channels else configured(settings))
        now, cursor = clock.now(), Cursor.from_json(context.cursor)
        partitions = metadata_store.partitions()
        rows = partitions.rows()
        outcomes = [outcome for domain in catalog for outcome in evaluate(domain, rows, now)]
        alerts = find_alerts(catalog, partitions, rows, context.instance, settings.ui_url, cursor.since(now), now)
        log = AlertLog(metadata_store.lake(), clock)
        done = dispatch(log, alerts, made, clock)
        due = [outcome for outcome in outcomes if cursor.reported.is_due(outcome, now)]
        failed = ", ".join(outcome.id for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"watch: {len(outcomes)} checks, failed: {failed or 'none'}; {done.raised} alerts raised,"
            f" {done.sent} deliveries, {done.failed} failed deliveries"
        )
        return dg.SensorResult(
            asset_events=[outcome.evaluation() for outcome in due],
            cursor=Cursor(now, cursor.reported.after(outcomes, due, now)).to_json(),
        )

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
        *collect.check_alerts(rows, history, ui_url),
        *collect.sla_alerts([freshness(domain, rows, now) for domain in catalog], ui_url),
        *collect.run_alerts(runs, of_runs, ui_url),
    ]
    return sorted(alerts, key=lambda alert: alert.at)


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers from one tick to the next.

    Attributes:
        looked_at: When the last tick looked, UTC; None before the first.
        reported: What was reported last of each check.
    """

    looked_at: datetime | None = None
    reported: LastReported = field(default_factory=LastReported)

    def since(self, now: datetime) -> datetime:
        """Return how far back to look for failures."""
        return (self.looked_at or now - FIRST_LOOK) - OVERLAP

    def to_json(self) -> str:
        """Return the cursor as Dagster stores it."""
        looked_at = self.looked_at.isoformat() if self.looked_at else None
        return json.dumps({"looked_at": looked_at, "reported": self.reported.to_json()})

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; one that cannot be read, of another version say, is as good as none."""
        try:
            stored = json.loads(text or "{}")
            looked_at = stored.get("looked_at")
            return cls(
                datetime.fromisoformat(looked_at).astimezone(UTC) if looked_at else None,
                LastReported.from_json(stored.get("reported")),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()
