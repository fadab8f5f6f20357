"""Topics that are left where they are because too much of them was refused, and the alert that says so.

What is too much is decided by `sink.refusals.refusal_limit`; that nothing of such a topic is taken or committed is the
business of `sink.loop`. What to do is in docs/operations.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from platform_core.domain.catalog import Domain
from platform_core.lake.alerts import AlertKind
from sink.consuming.broker import Broker
from sink.watching.alerts import SinkAlerts
from sink.watching.metrics import SinkMetrics

log = logging.getLogger(__name__)


class PausedTopics:
    """The topics that this process reads no more; a restart begins with none.

    Args:
        broker: Stops fetching them.
        metrics: Shows them.
        domains: The domains whose topics are consumed.

    Attributes:
        problems: Topic to what is wrong with it and what to do.
    """

    def __init__(self, broker: Broker, alerts: SinkAlerts, metrics: SinkMetrics, domains: Collection[Domain]) -> None:
        self._broker = broker
        self._alerts = alerts
        self._metrics = metrics
        self._domains = {domain.topic.name: domain.name for domain in domains}
        self.problems: dict[str, str] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self.problems

    def add(self, topic: str, problem: str) -> None:
        """Read no more of a topic, and raise the alert."""
        log.error("topic_paused %s", problem)
        self.problems[topic] = problem
        self._broker.pause_topic(topic)
        self._metrics.topic_paused.labels(topic).set(1)
        domain = self._domains[topic]
        self._alerts.post(AlertKind.TOPIC_PAUSED, topic, domain, problem, f"pdp dlq peek {domain}")
