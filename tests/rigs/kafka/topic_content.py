"""What a topic holds now, from its first offset to its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition


def read_topic(config: Mapping[str, Any], topic: str) -> list[Message]:
    """Return every record of a topic, in the order of each Kafka partition.

    Args:
        config: How to reach the broker.
    """
    consumer = Consumer(
        {
            **config,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 8_000_000,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        messages, ended = list[Message](), 0
        while ended < len(partitions):
            message = consumer.poll(10)
            assert message is not None, f"{topic}: Kafka sends nothing"
            if message.error():
                ended += 1
            else:
                messages.append(message)
        return messages
    finally:
        consumer.close()
