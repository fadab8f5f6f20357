"""The alerts that are on the topic `pipeline-alerts`, whoever wrote them, from where the last reading ended.

Producers and the sink have no lake to note an alert in, so they post it; reading it back is what brings it to the log
and to the other channels. Writing belongs to `platform_kafka.alerts`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from platform_core.clock import Clock, SystemClock
from platform_core.lake.alerts import Alert
from platform_core.settings import Settings
from platform_kafka.records import kafka_datetime
from platform_kafka.topic_reader import TopicReader, reading_range
from platform_kafka.topics import PIPELINE_ALERTS

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
NEWS = timedelta(days=1)
"""Kafka drops whole segments, so the topic has older alerts too; to a log that was lost they are no news."""

_ALERT = TypeAdapter(Alert)


class PostedAlerts:
    """Reads the topic; keeps its connection.

    Args:
        clock: The time from which an alert's age counts.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._reader = TopicReader(settings, "pdp-alerts", answer_seconds=ANSWER_SECONDS)
        self._clock = clock or SystemClock()

    def read(self, offsets: Mapping[int, int]) -> tuple[list[Alert], dict[int, int]]:
        """Return the alerts from an offset of each Kafka partition on, and the offsets to read from next.

        A topic that does not exist has none. A record that is no alert is passed over.

        Args:
            offsets: Where to begin; what is not in it, or not in the topic any more, is read from its beginning.

        Raises:
            TransientError: no broker answers.
        """
        bounds = self._reader.bounds([PIPELINE_ALERTS]).get(PIPELINE_ALERTS, {})
        position, ends = reading_range(PIPELINE_ALERTS, bounds, offsets)
        since = self._clock.now() - NEWS
        alerts = [
            alert
            for message in self._reader.read_all(position, ends)
            if (kafka_datetime(message) or since) >= since
            and (alert := _parsed(message.value(), message.partition(), message.offset())) is not None
        ]
        return alerts, {partition: at for (_, partition), at in position.items()}


def _parsed(value: bytes | None, partition: int, offset: int) -> Alert | None:
    try:
        return _ALERT.validate_json(value or b"")
    except ValidationError:
        log.warning("alert_unreadable topic=%s partition=%d offset=%d", PIPELINE_ALERTS, partition, offset)
        return None
