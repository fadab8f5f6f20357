"""Telling a person: one record on the topic `pipeline-alerts`, in the shape that the orchestrator's alerts have.

Only the record and its delivery belong here; what is worth an alert belongs to who notices it. A producer has no
memory of alerts in the lake: an occurrence is told once a process, its key lets readers recognise a second telling.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from platform_core.errors import PlatformError
from platform_core.settings import Settings
from platform_kafka.clients import connect_producer
from platform_kafka.topics import PIPELINE_ALERTS

log = logging.getLogger(__name__)

# A healthy broker acknowledges within 0.1 s; rows must not wait for one that is away.
FLUSH_SECONDS = 5.0


def alert_document(
    *, key: str, kind: str, domain: str, what: str, where: str, command: str, at: datetime
) -> dict[str, Any]:
    """Return an alert as JSON values, with the fields of `platform_core.lake.alerts.Alert`.

    Args:
        key: Identifies the occurrence.
        kind: What kind of thing it is, in capitals.
        domain: The domain.
        what: What happened, a sentence or two.
        where: Where to look.
        command: What to type next.
        at: When it happened, UTC.
    """
    return {
        "key": key,
        "kind": kind,
        "domain": domain,
        "partition_date": None,
        "what": what,
        "where": where,
        "command": command,
        "at": at.isoformat(),
    }


class AlertTopic:
    """Writes alerts; a broker that does not take one is logged and stops nothing.

    Args:
        settings: Where Kafka is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []

    def publish(self, document: dict[str, Any]) -> bool:
        """Send one alert and tell whether the broker acknowledged it.

        Args:
            document: What `alert_document` returns.
        """
        self._failures.clear()
        try:
            if self._producer is None:
                self._producer = connect_producer(self._settings, on_failed_delivery=self._failed)
            self._producer.produce(PIPELINE_ALERTS, json.dumps(document).encode(), document["key"].encode())
            left = self._producer.flush(FLUSH_SECONDS)
        except (KafkaException, BufferError, PlatformError) as error:
            log.warning("alert_not_sent key=%s error=%s", document["key"], error)
            return False
        if left or self._failures:
            reason = self._failures[0].str() if self._failures else "no acknowledgement in time"
            log.warning("alert_not_sent key=%s error=%s", document["key"], reason)
            # A later delivery of what is still queued would be a second copy.
            self._producer.purge(in_queue=True, in_flight=True)
            self._producer.flush(0)
            return False
        return True

    def _failed(self, error: KafkaError, message: Message) -> None:
        self._failures.append(error)
