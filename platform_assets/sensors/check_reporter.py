"""What a sensor does with the checks and the alerts of a tick: it reports those that are due, and sends what is new.

What is judged belongs to `platform_assets.asset_checks`, what is an alert to `alerting.collect`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import dagster as dg

from alerting.channels import Channel, configured
from alerting.dispatch import dispatch
from platform_assets.asset_checks.reported_check import ReportedCheck
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.failing_ticks import failing_sensor_alerts
from platform_assets.sensors.last_reported import LastReported
from platform_core.clock import Clock, SystemClock
from platform_core.lake.alerts import Alert, AlertLog
from platform_core.settings import Settings


class CheckReporter:
    """Reports for one sensor; its channels are made once a process, because a Kafka producer keeps its connection.

    Args:
        channels: Makes the channels; those of the settings by default.
    """

    def __init__(
        self, settings: Settings, channels: Callable[[], Sequence[Channel]] | None = None, clock: Clock | None = None
    ) -> None:
        self._make_channels = channels or (lambda: configured(settings))
        self._channels: Sequence[Channel] = ()
        self._ui_url = settings.ui_url
        self.clock = clock or SystemClock()

    def report(
        self,
        context: dg.SensorEvaluationContext,
        store: MetadataStore,
        outcomes: Sequence[ReportedCheck],
        alerts: Collection[Alert],
    ) -> dg.SensorResult:
        """Send what is new among the alerts, and return the outcomes that are due with the cursor."""
        self._channels = self._channels or self._make_channels()
        now, before = self.clock.now(), LastReported.from_json(context.cursor)
        alerts = [*alerts, *failing_sensor_alerts(context.instance, now, self._ui_url)]
        done = dispatch(AlertLog(store.lake(), self.clock), alerts, self._channels, self.clock)
        due = [outcome for outcome in outcomes if before.is_due(outcome, now)]
        failed = ", ".join(outcome.id for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"{len(outcomes)} checks, failed: {failed or 'none'}; {done.raised} alerts raised, {done.sent} deliveries,"
            f" {done.failed} failed deliveries"
        )
        return dg.SensorResult(
            asset_events=[outcome.evaluation() for outcome in due], cursor=before.after(outcomes, due, now).to_json()
        )
