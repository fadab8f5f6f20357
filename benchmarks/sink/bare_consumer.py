"""The least that a consumer can do: read and count. `... bare_consumer TOPIC RECORDS`, Kafka from the environment."""

from __future__ import annotations

import sys

from confluent_kafka import Consumer

from platform_core.settings import settings
from platform_kafka.topics import kafka_client_config

GROUP = "bare-consumer"


def main(topic: str, records: int) -> None:
    """Consume so many records."""
    config = {"group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**kafka_client_config(settings()), **config})
    consumer.subscribe([topic])
    count = 0
    while count < records:
        count += sum(message.error() is None for message in consumer.consume(1_000, 0.25))
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
