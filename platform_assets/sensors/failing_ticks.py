"""Sensors and schedules of which every tick fails, by Dagster's own record of their ticks.

Only reading ticks belongs here; what alert follows belongs to `alerting.collect`. Each sensor over checks looks at all
of them, so that one that fails itself is seen by another.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from alerting.collect import failing_sensor_alert
from platform_core.lake.alerts import Alert

FAILING_FOR = timedelta(minutes=5)
"""A store or a broker that restarts is back within this; a failure that is older than this is over."""

GOOD = [TickStatus.SUCCESS, TickStatus.SKIPPED]


def failing_sensor_alerts(instance: dg.DagsterInstance, now: datetime, ui_url: str) -> list[Alert]:
    """Return an alert for what has failed at every tick for some minutes; a tick that is under way counts as none.

    Args:
        now: The moment to judge, UTC.
        ui_url: Base URL of Dagster's UI.
    """
    alerts: list[Alert] = []
    if instance.schedule_storage is None:  # an instance in memory, which runs no sensors
        return alerts
    for state in instance.all_instigator_state():
        name, origin, selector = state.instigator_name, state.instigator_origin_id, state.selector_id
        failed = instance.get_ticks(origin, selector, limit=1, statuses=[TickStatus.FAILURE])
        good = instance.get_ticks(origin, selector, limit=1, statuses=GOOD)
        if not failed or (good and good[0].timestamp > failed[0].timestamp):
            continue
        at, error = datetime.fromtimestamp(failed[0].timestamp, UTC), failed[0].error
        since = datetime.fromtimestamp(good[0].timestamp, UTC) if good else datetime.combine(at, time(), UTC)
        if now - at < FAILING_FOR <= now - since:
            text = error.message.splitlines()[0] if error and error.message else "no error was recorded"
            alerts.append(failing_sensor_alert(name, since, text, ui_url))
    return alerts
