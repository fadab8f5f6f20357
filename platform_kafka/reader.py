"""Kafka as an operator's command asks it: topics, offsets, groups and records, with an error that names the cause.

Only questions belong here, and nothing in it joins a group or moves an offset: changing one is
`pdp.actions.group_offsets`, sending is `pdp.actions.dead_letters.redrive`. The calls are those of
https://docs.confluent.io/platform/current/clients/confluent-kafka-python.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, cast

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from platform_core.errors import ConfigurationError, PermanentError, TransientError
from platform_core.settings import Settings
from platform_kafka.records import Message, TopicPartition
from platform_kafka.topics import kafka_client_config

log = logging.getLogger(__name__)
_librdkafka = logging.getLogger("librdkafka.operator")
_librdkafka.addHandler(logging.NullHandler())  # a command's own message says it better than a client's log line

CONNECT_SECONDS = 8.0
ANSWER_SECONDS = 10.0
BATCH = 500

_LEADERLESS = frozenset(
    {
        ck.KafkaError.NOT_LEADER_FOR_PARTITION,
        ck.KafkaError.LEADER_NOT_AVAILABLE,
        ck.KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

_EARLIEST, _LATEST = -2, -1
"""Kafka's codes for the first and the last place of a partition, where a time in milliseconds is asked for."""


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
class Member:
    """A process in a consumer group.

    Attributes:
        client_id: What it calls itself.
        host: Where it runs, as the broker sees it.
        partitions: What it owns.
    """

    client_id: str
    host: str
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True)
class Group:
    """A consumer group as its coordinator knows it; `state` is Kafka's word in lower case."""

    name: str
    state: str
    members: tuple[Member, ...]


class OperatorKafka:
    """One connection for the length of a command; use it in a `with`.

    Args:
        settings: Where Kafka is, and as whom to ask.

    Raises:
        ConfigurationError: the cluster refuses the credentials.
        TransientError: no broker answers within 8 s.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._refused = False
        self._consumers: set[ck.Consumer] = set()
        config: dict[str, Any] = {**self.client_config(), "error_cb": self._on_error}
        self._admin = AdminClient(config, logger=_librdkafka)
        self._partitions = self._reach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for consumer in list(self._consumers):
            consumer.close()

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
                topic=topic,
            )
        return [(topic, partition) for partition in self._partitions[topic]]

    def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Return what partitions hold."""
        begins, ends = self._offsets(partitions, _EARLIEST), self._offsets(partitions, _LATEST)
        return {where: Bounds(begins[where], ends[where]) for where in partitions}

    def offsets_at(self, partitions: Collection[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        """Return for each partition the first offset with a record of that time or later, its end if there is none."""
        milliseconds = max(int(at.timestamp() * 1000), 0)  # below 0 are the codes of Kafka's special places
        found, ends = self._offsets(partitions, milliseconds), self._offsets(partitions, _LATEST)
        return {where: offset if (offset := found[where]) >= 0 else ends[where] for where in partitions}

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return a group's committed offsets; a partition without one is left out."""
        if not partitions:
            return {}
        wanted = ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(*where) for where in partitions])
        try:
            (asked,) = self._admin.list_consumer_group_offsets([wanted], request_timeout=ANSWER_SECONDS).values()
            found = asked.result().topic_partitions
        except ck.KafkaException as error:
            raise self.unanswered("committed offsets", error) from error
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def group(self, name: str) -> Group:
        """Return a consumer group; one that never was is `dead` and has no members."""
        try:
            (asked,) = self._admin.describe_consumer_groups([name], request_timeout=ANSWER_SECONDS).values()
            found = asked.result()
        except ck.KafkaException as error:
            if error.args[0].code() == ck.KafkaError.GROUP_ID_NOT_FOUND:
                return Group(name, "dead", ())
            raise self.unanswered(f"group `{name}`", error) from error
        members = tuple(
            Member(m.client_id, m.host, tuple((t.topic, t.partition) for t in m.assignment.topic_partitions))
            for m in found.members
        )
        return Group(name, str(found.state.name).lower(), members)

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
            raise self.unanswered("topic settings", error) from error
        return result

    def read(self, start: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> Iterator[Message]:
        """Yield records from offsets up to ends, which are not included; memory holds one batch.

        Raises:
            TransientError: nothing came for 10 s.
        """
        wanted = {where for where, end in ends.items() if start[where] < end}
        if not wanted:
            return
        assigned = [ck.TopicPartition(*where, start[where]) for where in sorted(wanted)]
        deadline = time.monotonic() + ANSWER_SECONDS
        # One client a reading: one that changes from a topic to another waits a second before it fetches.
        consumer = self._consume()
        try:
            consumer.assign(assigned)
            while wanted:
                # `consume` alone would wait its whole timeout for a batch that is not full.
                first = consumer.poll(0.2)
                batch = [first, *consumer.consume(BATCH, timeout=0)] if first is not None else []
                for message in batch:
                    where, error = (message.topic() or "", message.partition() or 0), message.error()
                    offset = message.offset() or 0
                    if error is None:
                        if offset < ends[where]:
                            yield cast("Message", message)
                        done = offset + 1 >= ends[where]
                    elif error.code() == ck.KafkaError._PARTITION_EOF:
                        done = True
                    else:
                        raise ck.KafkaException(error)
                    if done and where in wanted:
                        wanted.discard(where)
                        consumer.pause([ck.TopicPartition(*where)])
                if batch:  # only now: the caller may have taken long over them
                    deadline = time.monotonic() + ANSWER_SECONDS
                if wanted and time.monotonic() > deadline:
                    raise TransientError(
                        f"Kafka at `{self.settings.kafka_bootstrap_servers}` sent nothing of"
                        f" {_listed(wanted)} for {ANSWER_SECONDS:.0f} s. Try again."
                    )
        except ck.KafkaException as error:
            raise self.unanswered("records", error) from error
        finally:
            self._consumers.discard(consumer)
            consumer.close()

    def alter(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Set a group's committed offsets.

        Raises:
            PermanentError: the group has members, which would overwrite them.
            TransientError: Kafka did not take them.
        """
        wanted = [ck.TopicPartition(*where, offset) for where, offset in offsets.items()]
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
                    group=group,
                ) from error
            raise self.unanswered(f"the change of group `{group}`", error) from error

    def unanswered(self, what: str, error: ck.KafkaException) -> TransientError:
        """Return the error for a question that got no answer."""
        return TransientError(
            f"Kafka at `{self.settings.kafka_bootstrap_servers}` gave no answer on {what}:"
            f" {error.args[0].str()}. Try again."
        )

    def _consume(self) -> ck.Consumer:
        consumer = ck.Consumer(
            {
                **self.client_config(),
                "group.id": "pdp",  # librdkafka wants one; who only assigns does not join it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
            },
            logger=_librdkafka,
        )
        self._consumers.add(consumer)
        return consumer

    def _offsets(self, partitions: Collection[TopicPartition], spec: int) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        wanted = {ck.TopicPartition(*where): OffsetSpec.for_timestamp(spec) for where in partitions}
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                asked = self._admin.list_offsets(wanted, request_timeout=ANSWER_SECONDS)
                return {(each.topic, each.partition): int(future.result().offset) for each, future in asked.items()}
            except ck.KafkaException as error:
                # A topic that was just made, or whose leader moves, answers so for less than a second.
                if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                    raise self.unanswered("offsets", error) from error
                time.sleep(0.1)

    def _reach(self) -> dict[str, tuple[int, ...]]:
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                found = self._admin.list_topics(timeout=1.0).topics
            except ck.KafkaException as error:
                # Wrong credentials look like a timeout here; only the error callback, run by poll, knows better.
                self._admin.poll(0)
                servers, user = self.settings.kafka_bootstrap_servers, self.settings.kafka_username
                if self._refused:
                    raise ConfigurationError(
                        f"Kafka at `{servers}` refuses the credentials of user `{user}`. Set `KAFKA_USERNAME`,"
                        " `KAFKA_PASSWORD`, `KAFKA_SASL_MECHANISM` and `KAFKA_SECURITY_PROTOCOL` as the broker knows"
                        " them.",
                        user=user,
                    ) from None
                if time.monotonic() >= deadline:
                    raise TransientError(
                        f"Kafka at `{servers}` does not answer: {error.args[0].str()}. Check"
                        " `KAFKA_BOOTSTRAP_SERVERS` and that the broker runs.",
                        servers=servers,
                    ) from None
            else:
                return {
                    name: tuple(sorted(topic.partitions))
                    for name, topic in sorted(found.items())
                    if topic.error is None and not name.startswith("__")
                }

    def _on_error(self, error: ck.KafkaError) -> None:
        if error.code() == ck.KafkaError._AUTHENTICATION:
            self._refused = True
        log.debug("kafka_client_error code=%s error=%s", error.name(), error.str())


def _listed(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(f"`{topic}`-{partition}" for topic, partition in sorted(partitions))
