"""Sends what is pending: each alert once to each channel, and again only to a channel that did not take it.

A delivery is noted right after it; a crash in between repeats that one alert, which is the better of the two errors.
While the log cannot be written, what happens then is sent all the same, and noted later from this process's memory.
What is an alert belongs to `collect`, how it is carried to `channels`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from deltalake.exceptions import DeltaError

from alerting.channels import Channel
from platform_core.clock import Clock, SystemClock
from platform_core.errors import PermanentError, TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert
from platform_kafka.alerts import AlertTopic

log = logging.getLogger(__name__)

PENDING_FOR = timedelta(hours=24)
"""A channel that is configured today, or comes back after a week, is not flooded with what is long over."""

CHANNEL_SECONDS = 8.0
"""Time for one channel in one tick; what remains goes out with the next, 30 s later."""


REMEMBERED = 1_000

LAKE_ERRORS = (OSError, DeltaError, TransientError)
"""What the log raises when the lake cannot be read or written."""


class Deliveries:
    """What this process knows of deliveries: so that no channel gets an alert twice because the log is away."""

    def __init__(self) -> None:
        self._channels: dict[str, set[str]] = {}
        self._unlogged: dict[str, Alert] = {}

    def add(self, alert: Alert, channel: str) -> None:
        """Remember that a channel has taken an alert; the log may not know it yet."""
        self._unlogged[alert.key] = alert
        self._channels.setdefault(alert.key, set()).add(channel)

    def logged(self, key: str) -> None:
        """Remember that the log knows all of an alert's deliveries."""
        self._unlogged.pop(key, None)
        while len(self._channels) > REMEMBERED and (oldest := next(iter(self._channels))) not in self._unlogged:
            del self._channels[oldest]

    def has(self, key: str, channel: str) -> bool:
        """Tell whether a channel has taken an alert."""
        return channel in self._channels.get(key, ())

    def catch_up(self, log_of_alerts: AlertLog) -> None:
        """Note in the log what was delivered without it.

        Raises:
            TransientError: the log could not be written.
        """
        for key, alert in list(self._unlogged.items()):
            log_of_alerts.new([alert])
            for channel in self._channels[key]:
                log_of_alerts.delivered(key, channel)
            self.logged(key)


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
    deliveries: Deliveries | None = None,
) -> Dispatched:
    """Note new alerts, then send to each channel what it has not taken yet.

    A channel that fails is logged and left; its alerts stay pending, and other channels get theirs.

    Args:
        log_of_alerts: The alerts raised so far.
        alerts: What was seen now, known or not.
        channels: Where to send.
        clock: The time from which the age of a pending alert counts.
        posted: What Kafka's topic of alerts has already, known or not.
        deliveries: This process's memory.

    Raises:
        LAKE_ERRORS: the log could not be read or written; what was delivered is remembered.
    """
    deliveries = deliveries or Deliveries()
    deliveries.catch_up(log_of_alerts)
    raised = [*log_of_alerts.new(alerts), *log_of_alerts.new(posted, [AlertTopic.name])]
    for alert in raised:
        log.warning("alert_raised key=%s where=%s", alert.key, alert.where)
    since = (clock or SystemClock()).now() - PENDING_FOR
    sent = failed = 0
    for channel in channels:
        for alert, error in _sent(channel, log_of_alerts.pending(channel.name, since)):
            if error is not None:
                failed += 1
                continue
            deliveries.add(alert, channel.name)
            log_of_alerts.delivered(alert.key, channel.name)
            deliveries.logged(alert.key)
            sent += 1
    return Dispatched(len(raised), sent, failed)


def send_directly(alerts: Collection[Alert], channels: Iterable[Channel], deliveries: Deliveries) -> int:
    """Send to each channel what it has not taken, while the log cannot be read or written.

    Args:
        alerts: What was seen now.
        channels: Where to send.
        deliveries: This process's memory, from which the log is written later.

    Returns:
        How many deliveries were made.
    """
    sent = 0
    for channel in channels:
        for alert, error in _sent(channel, [a for a in alerts if not deliveries.has(a.key, channel.name)]):
            if error is None:
                deliveries.add(alert, channel.name)
                log.warning("alert_sent_without_log channel=%s key=%s", channel.name, alert.key)
                sent += 1
    return sent


def _sent(channel: Channel, pending: Iterable[Alert]) -> Iterator[tuple[Alert, Exception | None]]:
    """Yield each alert that the channel was given, with the error if it did not take it."""
    started = time.monotonic()
    for alert in pending:
        if time.monotonic() - started > CHANNEL_SECONDS:
            break
        try:
            channel.send(alert)
        except PermanentError as error:
            log.error("alert_refused channel=%s key=%s error=%s", channel.name, alert.key, error)
            yield alert, error
        except Exception as error:
            # An outage: the rest would wait for the same timeout, one after the other.
            log.error("alert_not_sent channel=%s key=%s error=%s", channel.name, alert.key, error)
            yield alert, error
            break
        else:
            yield alert, None
