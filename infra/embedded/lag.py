"""How far the sink is behind: Kafka's end offsets against the group's committed ones.

Only reading; moving offsets belongs to the operator's commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from platform_core.settings import Settings
from platform_kafka.topics import SINK_GROUP, kafka_client_config


@dataclass(frozen=True)
class TopicLag:
    """One topic.

    Attributes:
        records: Records that the topic holds (end minus begin, over partitions).
        lag: Records that the sink has not committed.
    """

    records: int
    lag: int


def topic_lag(settings: Settings, topics: Iterable[str]) -> dict[str, TopicLag]:
    """Return records and lag of each topic.

    A partition that was never committed has the offset -1001 and counts from its first record.
    """
    admin = AdminClient(kafka_client_config(settings, admin=True))
    metadata = admin.list_topics(timeout=20).topics
    partitions = [TopicPartition(topic, p) for topic in topics for p in metadata[topic].partitions]
    first = _offsets(admin, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    last = _offsets(admin, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    group = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP)])[SINK_GROUP].result()
    committed = {(tp.topic, tp.partition): tp.offset for tp in group.topic_partitions}
    result: dict[str, TopicLag] = {}
    for tp in partitions:
        key = (tp.topic, tp.partition)
        done = max(committed.get(key, -1), first[key])
        before = result.get(tp.topic, TopicLag(0, 0))
        result[tp.topic] = TopicLag(before.records + last[key] - first[key], before.lag + last[key] - done)
    return result


def _offsets(admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    futures = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=20)
    return {(tp.topic, tp.partition): future.result().offset for tp, future in futures.items()}
