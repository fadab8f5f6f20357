"""What a sensor does with the checks and the alerts of a tick: it reports those that are due, and sends what is new.

What is judged belongs to `platform_assets.asset_checks`, what is an alert to `alerting.collect`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import dagster as dg

from alerting.channels import Channel, configured
from alerting.collect import lake_down_alert
from alerting.dispatch import Deliveries, dispatch, send_directly
from platform_assets.asset_checks.reported_check import ReportedCheck
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.failing_ticks import FAILING_FOR, failing_sensor_alerts
from platform_assets.sensors.last_reported import LastReported
from platform_core.clock import Clock, SystemClock
from platform_core.errors import TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert
from platform_core.lake.mount import is_marked, require_marked
from platform_core.settings import Settings
from platform_kafka.alerts import AlertTopic

log = logging.getLogger(__name__)

Inbox = Callable[[Mapping[int, int]], tuple[list[Alert], dict[int, int]]]
"""Reads the topic of alerts: from these offsets on, to these."""


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
        self._deliveries = Deliveries()
        self._lake_down_since: datetime | None = None
        self._ui_url = settings.ui_url
        self.clock = clock or SystemClock()

    def report(
        self,
        context: dg.SensorEvaluationContext,
        store: MetadataStore,
        outcomes: Sequence[ReportedCheck],
        alerts: Collection[Alert],
        posted: Inbox | None = None,
    ) -> dg.SensorResult:
        """Send what is new among the alerts, and return the outcomes that are due with the cursor.

        Args:
            posted: Reads what others have written to Kafka's topic of alerts; their place in it is kept in the cursor.
        """
        now, before = self.clock.now(), LastReported.from_json(context.cursor)
        alerts = [*alerts, *failing_sensor_alerts(context.instance, now, self._ui_url)]
        before, from_kafka = _read(before, posted)
        log_of_alerts = AlertLog(store.lake(), self.clock)
        done = dispatch(log_of_alerts, alerts, self._open(), self.clock, from_kafka, self._deliveries)
        self._lake_down_since = None
        due = [outcome for outcome in outcomes if before.is_due(outcome, now)]
        failed = ", ".join(outcome.id for outcome in outcomes if not outcome.passed)
        context.log.info(
            f"{len(outcomes)} checks, failed: {failed or 'none'}; {done.raised} alerts raised, {done.sent} deliveries,"
            f" {done.failed} failed deliveries"
        )
        after = replace(before.after(outcomes, due, now), lake_seen=is_marked(store.lake()))
        return dg.SensorResult(asset_events=[outcome.evaluation() for outcome in due], cursor=after.to_json())

    def report_without_lake(
        self, context: dg.SensorEvaluationContext, root: str, error: Exception, posted: Inbox
    ) -> dg.SensorResult:
        """Send what can be known without the lake, which has no log now; the cursor stays for when it is back.

        Args:
            root: Where the lake is.
            error: What reading or writing it failed with.
            posted: Reads what others have written to Kafka's topic of alerts.
        """
        now, before = self.clock.now(), LastReported.from_json(context.cursor)
        since = self._lake_down_since = self._lake_down_since or now
        # Without a cursor nobody knows which of them were sent already.
        alerts = _read(before, posted)[1] if before.alert_offsets else []
        for alert in alerts:
            self._deliveries.add(alert, AlertTopic.name)
        if now - since >= FAILING_FOR:
            alerts.append(lake_down_alert(root, since, str(error), self._ui_url))
        sent = send_directly(alerts, self._open(), self._deliveries)
        reason = f"The lake `{root}` cannot be read or written since {since:%H:%M:%S} UTC, {sent} deliveries: {error}"
        log.error("lake_down root=%s since=%s error=%s", root, since.isoformat(), error)
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=before.to_json())

    def require_lake(self, context: dg.SensorEvaluationContext, store: MetadataStore) -> None:
        """Look whether the lake is there before anything is read.

        Raises:
            LakeNotMountedError: it was at an earlier tick, and is not.
        """
        require_marked(store.lake(), LastReported.from_json(context.cursor).lake_seen)

    def _open(self) -> Sequence[Channel]:
        self._channels = self._channels or self._make_channels()
        return self._channels


def _read(before: LastReported, posted: Inbox | None) -> tuple[LastReported, list[Alert]]:
    """Return what others have posted since; while Kafka is away nothing, and it is read later."""
    if posted is None:
        return before, []
    try:
        alerts, offsets = posted(before.alert_offsets)
    except TransientError as error:
        log.warning("posted_alerts_not_read error=%s", error)
        return before, []
    return replace(before, alert_offsets=offsets), alerts
