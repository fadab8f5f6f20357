"""A topic full of events that wait for a sink, on a broker that has no other topics yet."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from platform_core.domain.catalog import load_catalog
from platform_core.settings import Settings
from platform_kafka.topics import kafka_client_config, topic_specs


def create_topics(settings: Settings) -> None:
    """Create the platform's topics that the broker lacks."""
    admin = AdminClient(kafka_client_config(settings, admin=True))
    existing = admin.list_topics(timeout=10).topics
    specs = [spec for spec in topic_specs(load_catalog(settings.domains_file)) if spec.name not in existing]
    for done in admin.create_topics([NewTopic(s.name, s.partitions, 1, config=s.config) for s in specs]).values():
        done.result()


def produce(settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Send keys and values, wait until the broker has them, and return how many it were."""
    producer = Producer({**kafka_client_config(settings), "linger.ms": 50, "compression.type": "lz4"})
    count = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return count


def forget_group(settings: Settings, group: str) -> None:
    """Delete a consumer group, so that its next member begins with the first record."""
    admin = AdminClient(kafka_client_config(settings, admin=True))
    # A broker that never had a group waits a minute for a coordinator before it says that this one does not exist.
    if group in {listed.group_id for listed in admin.list_consumer_groups().result().valid}:
        [deleted] = admin.delete_consumer_groups([group]).values()
        deleted.result()
