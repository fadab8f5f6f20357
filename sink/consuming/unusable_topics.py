"""Topics that the sink needs and cannot use: they do not exist, or its user may not read or write them.

Such a topic stops no other: what needs it waits, and goes on by itself once a person has mended it. Which work waits
belongs to `sink.loop`, what to do to docs/operations.md.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from platform_core.domain.catalog import Domain
from platform_core.lake.alerts import AlertKind
from platform_kafka.topics import dlq_name
from sink.watching.alerts import SinkAlerts

log = logging.getLogger(__name__)

RETRY_SECONDS = 10.0
"""How long a record waits before it asks again whether its topic can be used."""


class UnusableTopics:
    """Knows them, and raises an alert each time that one becomes so.

    Args:
        domains: The domains whose topics are consumed.

    Attributes:
        problems: Topic to what is wrong with it and what to do.
    """

    def __init__(self, alerts: SinkAlerts, domains: Collection[Domain]) -> None:
        self._alerts = alerts
        self._domains = {topic: d.name for d in domains for topic in (d.topic.name, dlq_name(d))}
        self.problems: dict[str, str] = {}

    def note(self, topic: str, problem: str | None) -> None:
        """Take over how a topic is: what is wrong with it, or None."""
        if problem is None:
            if self.problems.pop(topic, None) is not None:
                log.info("topic_usable_again topic=%s", topic)
        elif topic not in self.problems:
            log.error("topic_unusable topic=%s error=%s", topic, problem)
            self.problems[topic] = problem
            command = "python -m producers provision"
            self._alerts.post(AlertKind.TOPIC_UNUSABLE, topic, self._domains.get(topic), problem, command)
