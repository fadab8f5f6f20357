"""Alerts on the topic `pipeline-alerts`: one record an alert, delivered when the broker says so.

Only the delivery belongs here; what is worth an alert belongs to who notices it, its form to
`platform_core.lake.alerts`. The record's key is the alert's key, by which readers recognise a second copy.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.topics import PIPELINE_ALERTS, kafka_client_config

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from platform_core.lake.alerts import Alert

ACKNOWLEDGE_SECONDS = 5.0
"""A healthy broker acknowledges within 0.1 s, a first connection within 1 s; nobody waits long for a dead one."""


def alert_record(alert: Alert) -> tuple[bytes, bytes]:
    """Return the key and the value of an alert's record, whoever sends it."""
    return alert.key.encode(), json.dumps(alert.to_json()).encode()


class AlertTopic:
    """Writes alerts.

    Attributes:
        name: Under which the log of alerts notes what this topic has taken.
    """

    name = "kafka"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, alert: Alert) -> None:
        """Produce the alert as JSON and wait for the broker's acknowledgement.

        Raises:
            TransientError: the broker did not take it, and no copy of it arrives later.
        """
        from confluent_kafka import KafkaException, Producer

        reports: list[KafkaError | None] = []
        problem = "no delivery report"
        try:
            # A client for each: alerts are rare, and no client is left that could send one later.
            producer = Producer(
                {
                    **kafka_client_config(self._settings),
                    "client.id": "pdp-alerts",
                    "acks": "all",
                    # The report must come before `flush` times out: a late delivery would be a second copy.
                    "message.timeout.ms": int(ACKNOWLEDGE_SECONDS * 1000),
                    "log_level": 2,  # a broker that is down is one line of ours, not ten a second of librdkafka's
                }
            )
            key, value = alert_record(alert)
            producer.produce(
                PIPELINE_ALERTS,
                value,
                key,
                on_delivery=lambda error, _message: reports.append(error),
            )
            producer.flush(ACKNOWLEDGE_SECONDS + 2)
        except KafkaException as failure:
            problem = str(failure)
        for error in reports:
            if error is None:
                return
            problem = error.str()
        raise TransientError(
            f"Alert `{alert.key}` was not taken by topic `{PIPELINE_ALERTS}` at"
            f" `{self._settings.kafka_bootstrap_servers}`: {problem}. Check that the broker is up and that the topic"
            " exists; `python -m producers provision` creates it.",
        )
