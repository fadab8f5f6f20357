"""Kafka as an operator's command asks it: topics, offsets, groups and records, with an error that names the cause.

Questions belong here, and one change, `alter`: which offsets a group gets is decided in `pdp.actions.group_offsets`.
Nothing in it joins a group; sending is `pdp.actions.dead_letters.redrive`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    MemberDescription,
    OffsetSpec,
    ResourceType,
)

from platform_core.errors import PermanentError
from platform_core.settings import Settings
from platform_kafka.clients import ClientErrors, committed_offsets, connect, librdkafka, through_elections, unanswered
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import kafka_client_config, refuse_unusable_login

CONNECT_SECONDS = 8.0
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Bounds:
    """What one partition holds: `begin` is the first offset kept, `end` the one that the next record gets."""

    begin: int
    end: int

    @property
    def records(self) -> int:
        """Offsets kept; a topic that is compacted or written in transactions has fewer records."""
        return self.end - self.begin


@dataclass(frozen=True)
class Group:
    """A consumer group as its coordinator knows it; `state` is Kafka's word in lower case."""

    name: str
    state: str
    members: Sequence[MemberDescription]


class OperatorKafka(AbstractContextManager["OperatorKafka"]):
    """One connection for the length of a command; use it in a `with`.

    Args:
        settings: Where Kafka is, and as whom to ask.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: no broker answers within 8 s.
    """

    def __init__(self, settings: Settings) -> None:
        refuse_unusable_login(settings)
        self.settings = settings
        self._readers: set[TopicReader] = set()
        errors = ClientErrors()
        config: dict[str, Any] = {**self.client_config(), "error_cb": errors}
        self._admin = AdminClient(config, logger=librdkafka)
        found = connect(self._admin, errors, settings, seconds=CONNECT_SECONDS).topics
        self._partitions = {
            name: tuple(sorted(topic.partitions))
            for name, topic in sorted(found.items())
            if topic.error is None and not name.startswith("__")
        }

    def __exit__(self, *_: object) -> None:
        for reader in list(self._readers):
            reader.close()

    def client_config(self) -> dict[str, Any]:
        """Return librdkafka's settings of a client of this command."""
        return {**kafka_client_config(self.settings), "client.id": "pdp"}

    @property
    def topics(self) -> Mapping[str, tuple[int, ...]]:
        """Topics that exist, by name, with their partitions; Kafka's internal ones are left out."""
        return self._partitions

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic.

        Raises:
            PermanentError: the topic does not exist, or the user may not see it.
        """
        if topic not in self._partitions:
            raise PermanentError(
                f"Kafka at `{self.settings.kafka_bootstrap_servers}` has no topic `{topic}`, or user"
                f" `{self.settings.kafka_username}` may not see it. `python -m producers provision` creates the topics"
                " of the platform.",
            )
        return [(topic, partition) for partition in self._partitions[topic]]

    def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Return what partitions hold."""
        with closing(TopicReader(self.settings, "pdp", answer_seconds=ANSWER_SECONDS)) as reader:
            by_topic = reader.bounds({topic for topic, _ in partitions})
        return {(topic, p): Bounds(*by_topic[topic][p]) for topic, p in partitions}

    def offsets_at(self, partitions: Collection[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        """Return for each partition the first offset with a record of that time or later, its end if there is none."""
        # Below 0 are Kafka's codes of the first and the last offset.
        spec = OffsetSpec.for_timestamp(max(int(at.timestamp() * 1000), 0))

        def ask() -> dict[TopicPartition, int]:
            asked = self._admin.list_offsets(
                {ck.TopicPartition(*tp): spec for tp in partitions}, request_timeout=ANSWER_SECONDS
            )
            return {(tp.topic, tp.partition): future.result().offset for tp, future in asked.items()}

        try:
            offsets = through_elections(ask, ANSWER_SECONDS)
        except ck.KafkaException as error:
            raise unanswered(self.settings, "offsets", error) from error
        bounds = self.bounds(partitions)
        return {tp: offset if offset >= 0 else bounds[tp].end for tp, offset in offsets.items()}

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return a group's committed offsets; a partition without one is left out."""
        try:
            return committed_offsets(self._admin, group, partitions, ANSWER_SECONDS)
        except ck.KafkaException as error:
            raise unanswered(self.settings, "committed offsets", error) from error

    def group(self, name: str) -> Group:
        """Return a consumer group; one that never was is `dead` and has no members."""

        def ask() -> Any:
            (asked,) = self._admin.describe_consumer_groups([name], request_timeout=ANSWER_SECONDS).values()
            return asked.result()

        try:
            found = through_elections(ask, ANSWER_SECONDS)
        except ck.KafkaException as error:
            if error.args[0].code() == ck.KafkaError.GROUP_ID_NOT_FOUND:
                return Group(name, "dead", ())
            raise unanswered(self.settings, f"group `{name}`", error) from error
        return Group(name, str(found.state.name).lower(), found.members)

    def retention_ms(self, topics: Collection[str]) -> dict[str, int | None]:
        """Return how long topics keep records, in milliseconds; None is for ever, or compacted."""
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        result: dict[str, int | None] = {}
        try:
            for resource, asked in self._admin.describe_configs(resources, request_timeout=ANSWER_SECONDS).items():
                entries = asked.result()
                milliseconds = int(entries["retention.ms"].value)
                deletes = "delete" in entries["cleanup.policy"].value
                result[resource.name] = milliseconds if deletes and milliseconds >= 0 else None
        except ck.KafkaException as error:
            raise unanswered(self.settings, "topic settings", error) from error
        return result

    def read(self, start: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> Iterator[Message]:
        """Yield records from offsets up to ends, which are not included; memory holds one batch.

        Raises:
            TransientError: nothing came for 10 s.
        """
        # A reader a reading: one reading may ask for another, as a redrive does for a value that was left out.
        reader = TopicReader(self.settings, "pdp", answer_seconds=ANSWER_SECONDS)
        self._readers.add(reader)
        try:
            yield from reader.read_all(dict(start), ends)
        finally:
            self._readers.discard(reader)
            reader.close()

    def alter(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Set a group's committed offsets.

        Raises:
            PermanentError: the group has members, which would overwrite them.
            TransientError: Kafka did not take them.
        """
        wanted = [ck.TopicPartition(*tp, offset) for tp, offset in offsets.items()]
        try:
            (asked,) = self._admin.alter_consumer_group_offsets(
                [ck.ConsumerGroupTopicPartitions(group, wanted)], request_timeout=ANSWER_SECONDS
            ).values()
            for each in asked.result().topic_partitions:
                if each.error is not None:
                    raise ck.KafkaException(each.error)
        except ck.KafkaException as error:
            if error.args[0].code() in (ck.KafkaError.UNKNOWN_MEMBER_ID, ck.KafkaError.NON_EMPTY_GROUP):
                raise PermanentError(
                    f"Group `{group}` has members, which would overwrite its offsets. Stop them; one that was killed"
                    " leaves the group after 10 s.",
                ) from error
            raise unanswered(self.settings, f"the change of group `{group}`", error) from error
