"""What the sink needs from Kafka, as protocols, so that the loop runs the same on a broker held in memory.

The implementation with librdkafka is `sink.consuming.kafka`; nothing here imports a client. A new need of the loop is
first a method here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from platform_core.errors import PlatformError
from platform_kafka.records import Headers, Message, TopicPartition

OnDelivery = Callable[[PlatformError | None], None]


@dataclass(frozen=True)
class Batch:
    """What one poll returned.

    Attributes:
        messages: Records, in offset order within each partition.
        ends: Partitions whose end was reached, with the offset that the next record will have. Those of the
            same partition in `messages` come before it or are newer.
        unusable: Topics that cannot be read, with the reason.
    """

    messages: Sequence[Message] = ()
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)


class Listener(Protocol):
    """Who hears of the group's decisions; called within `Broker.consume` and `Broker.close`."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take over partitions."""

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions up; offsets may still be committed."""

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that another member already owns; their offsets may not be committed."""


class Broker(Protocol):
    """The consuming side."""

    def subscribe(self, topics: Collection[str], listener: Listener) -> None:
        """Join the consumer group."""

    def consume(self, max_messages: int, timeout_seconds: float) -> Batch:
        """Return what has arrived, waiting at most `timeout_seconds`; this is also what keeps the membership.

        Raises:
            PermanentError: the user may not read the group.
            TransientError: the client cannot go on and must be made again.
        """

    def commit(self, offsets: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Commit the offsets of the next records to read.

        Returns:
            What was not committed because its topic does not exist any more.

        Raises:
            TransientError: the coordinator did not take them.
        """

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the group's committed offsets; a partition without one is left out.

        Raises:
            TransientError: the coordinator did not answer.
        """

    def lag(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return how many records lie behind each position, as far as is known without asking the broker."""

    def pause(self) -> None:
        """Fetch nothing more, also from partitions assigned later, and stay in the group."""

    def resume(self) -> None:
        """End a pause."""

    def pause_topic(self, topic: str) -> None:
        """Fetch nothing more of one topic, also from its partitions that are assigned later."""

    def resume_topic(self, topic: str) -> None:
        """End the pause of one topic."""

    def close(self) -> None:
        """Leave the group."""


class Publisher(Protocol):
    """The producing side, for dead letters and the ledger."""

    def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> None:
        """Queue a record; `on_delivery` is called once, from `poll` or `flush`, with None or the error.

        Raises:
            TransientError: the local queue is full.
            RecordTooLargeError: no broker takes a record of this size.
            PermanentError: the topic does not exist, or may not be written.
        """

    def poll(self) -> None:
        """Run the callbacks of finished deliveries without waiting."""

    def flush(self, timeout_seconds: float) -> int:
        """Wait for deliveries and return how many are still open."""
