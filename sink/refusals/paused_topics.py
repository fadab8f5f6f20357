"""Topics that are left where they are because too much of them was refused, and the alert that says so.

What is too much is decided by `sink.refusals.refusal_limit`; that nothing of such a topic is taken or committed is the
business of `sink.loop`. What to do is in docs/operations.md.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection

from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.errors import PlatformError, TransientError
from platform_core.lake.alerts import Alert, AlertKind
from platform_kafka.topics import PIPELINE_ALERTS
from sink.broker import Broker, Publisher
from sink.metrics import SinkMetrics

log = logging.getLogger(__name__)


class PausedTopics:
    """The topics that this process reads no more; a restart begins with none.

    Args:
        broker: Stops fetching them.
        publisher: Sends the alerts.
        metrics: Shows them.
        domains: The domains whose topics are consumed.
        clock: For the time of an alert.

    Attributes:
        problems: Topic to what is wrong with it and what to do.
    """

    def __init__(
        self, broker: Broker, publisher: Publisher, metrics: SinkMetrics, domains: Collection[Domain], clock: Clock
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._metrics = metrics
        self._domains = {domain.topic.name: domain.name for domain in domains}
        self._clock = clock
        self.problems: dict[str, str] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self.problems

    def add(self, topic: str, problem: str) -> None:
        """Read no more of a topic, and raise the alert."""
        log.error("topic_paused %s", problem)
        self.problems[topic] = problem
        self._broker.pause_topic(topic)
        self._metrics.topic_paused.labels(topic).set(1)
        at = self._clock.now()
        alert = Alert(
            key=f"topic_paused:{topic}:{at.isoformat()}",
            kind=AlertKind.TOPIC_PAUSED,
            domain=self._domains[topic],
            partition_date=None,
            what=problem,
            where=f"topic {topic}",
            command=f"pdp dlq peek {self._domains[topic]}",
            at=at,
        )
        try:
            self._publisher.publish(
                PIPELINE_ALERTS, alert.key.encode(), json.dumps(alert.to_json()).encode(), [], _delivered
            )
        except TransientError as error:
            _delivered(error)


def _delivered(error: PlatformError | None) -> None:
    if error is not None:  # the log line, the metric and the health say it as well
        log.warning("alert_not_sent error=%s", error)
