"""Sends what is pending: each alert once to each channel, and again only to a channel that did not take it.

A delivery is noted right after it; a crash in between repeats that one alert, which is the better of the two errors.
What is an alert belongs to `collect`, how it is carried to `channels`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from alerting.channels import Channel
from platform_core.clock import Clock, SystemClock
from platform_core.errors import PermanentError
from platform_core.lake.alerts import Alert, AlertLog
from platform_kafka.alerts import AlertTopic

log = logging.getLogger(__name__)

PENDING_FOR = timedelta(hours=24)
"""A channel that is configured today, or comes back after a week, is not flooded with what is long over."""

CHANNEL_SECONDS = 8.0
"""Time for one channel in one tick; what remains goes out with the next, 30 s later."""


@dataclass(frozen=True)
class Dispatched:
    """What one dispatch did: new alerts, deliveries, and failed deliveries."""

    raised: int
    sent: int
    failed: int


def dispatch(
    log_of_alerts: AlertLog,
    alerts: Collection[Alert],
    channels: Iterable[Channel],
    clock: Clock | None = None,
    posted: Collection[Alert] = (),
) -> Dispatched:
    """Note new alerts, then send to each channel what it has not taken yet.

    A channel that fails is logged and left; its alerts stay pending, and other channels get theirs.

    Args:
        log_of_alerts: The alerts raised so far.
        alerts: What was seen now, known or not.
        channels: Where to send.
        clock: The time from which the age of a pending alert counts.
        posted: What Kafka's topic of alerts has already, known or not.

    Raises:
        TransientError: the log could not be written.
    """
    raised = [*log_of_alerts.new(alerts), *log_of_alerts.new(posted, [AlertTopic.name])]
    for alert in raised:
        log.warning("alert_raised key=%s where=%s", alert.key, alert.where)
    since = (clock or SystemClock()).now() - PENDING_FOR
    sent = failed = 0
    for channel in channels:
        good, bad = _send_pending(log_of_alerts, channel, log_of_alerts.pending(channel.name, since))
        sent, failed = sent + good, failed + bad
    return Dispatched(len(raised), sent, failed)


def _send_pending(log_of_alerts: AlertLog, channel: Channel, pending: Iterable[Alert]) -> tuple[int, int]:
    started, sent, failed = time.monotonic(), 0, 0
    for alert in pending:
        if time.monotonic() - started > CHANNEL_SECONDS:
            break
        try:
            channel.send(alert)
            log_of_alerts.delivered(alert.key, channel.name)
        except PermanentError as error:
            failed += 1
            log.error("alert_refused channel=%s key=%s error=%s", channel.name, alert.key, error)
        except Exception as error:
            # An outage: the rest would wait for the same timeout, one after the other.
            failed += 1
            log.error("alert_not_sent channel=%s key=%s error=%s", channel.name, alert.key, error)
            break
        else:
            sent += 1
    return sent, failed
