"""The sink's alerts, posted to Kafka's topic of alerts; the log of alerts and Slack get them from there.

What is worth an alert belongs to who notices it, reading the topic back to `alerting`.
"""

from __future__ import annotations

import logging

from platform_core.clock import Clock
from platform_core.errors import PlatformError
from platform_core.lake.alerts import Alert, AlertKind
from platform_kafka.alerts import alert_record
from platform_kafka.topics import PIPELINE_ALERTS
from sink.consuming.broker import Publisher

log = logging.getLogger(__name__)


class SinkAlerts:
    """Posts alerts about topics.

    Args:
        publisher: Sends them.
        clock: For the time of an alert.
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock

    def post(self, kind: AlertKind, topic: str, domain: str | None, what: str, command: str) -> None:
        """Post an alert about a topic, without waiting; the log line and the health say it as well."""
        at = self._clock.now()
        key = f"{kind.value.lower()}:{topic}:{at.isoformat()}"
        alert = Alert(key, kind, domain, None, what, f"topic {topic}", command, at)
        try:
            self._publisher.publish(PIPELINE_ALERTS, *alert_record(alert), [], _delivered)
        except PlatformError as error:
            _delivered(error)


def _delivered(error: PlatformError | None) -> None:
    if error is not None:
        log.warning("alert_not_sent error=%s", error)
