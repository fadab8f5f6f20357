"""The sink's committed offsets: how far behind they are, and how they are set elsewhere.

Only what an offset of the group means belongs here; asking Kafka is `platform_kafka.reader`. Setting back makes the
sink read again, which Silver evens out; setting forward loses records for good and must be said in so many words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from platform_core.counted import counted
from platform_core.errors import PermanentError
from platform_kafka.reader import Group, OperatorKafka
from platform_kafka.records import TopicPartition, kafka_datetime
from platform_kafka.topics import SINK_GROUP


@dataclass(frozen=True)
class PartitionLag:
    """How far the sink is behind in one partition.

    Attributes:
        topic: The raw topic.
        committed: The offset that the sink reads next; None before its first commit.
        begin: The first offset that Kafka keeps.
        end: The offset that the next record will get.
        oldest_at: Kafka's time of the oldest unread record, UTC; None if nothing is unread.
    """

    topic: str
    partition: int
    committed: int | None
    begin: int
    end: int
    oldest_at: datetime | None

    @property
    def lag(self) -> int:
        """Records that are not read yet."""
        return max(self.end - max(self.committed or 0, self.begin), 0)

    @property
    def dropped(self) -> int:
        """Offsets that retention has dropped before the sink read them."""
        return max(self.begin - self.committed, 0) if self.committed is not None else 0


@dataclass(frozen=True)
class Move:
    """One partition's committed offset before and after.

    Attributes:
        topic: The raw topic.
        before: The committed offset; None if there was none, and the sink began at `begin`.
        after: The offset that the sink reads next.
        begin: The first offset that Kafka keeps.
        end: The offset that the next record will get.
    """

    topic: str
    partition: int
    before: int | None
    after: int
    begin: int
    end: int

    @property
    def position(self) -> int:
        """Where the sink would go on without this."""
        return max(self.begin if self.before is None else self.before, self.begin)

    @property
    def again(self) -> int:
        """Records that are read again."""
        return max(self.position - self.after, 0)

    @property
    def skipped(self) -> int:
        """Records that are never read."""
        return max(self.after - self.position, 0)


Target = Literal["earliest"] | datetime | int
"""Where to: the first record that Kafka keeps, the first one since a time, or an offset."""


def lags(kafka: OperatorKafka, topics: Collection[str]) -> list[PartitionLag]:
    """Return how far the sink is behind in each partition of some topics.

    Raises:
        PermanentError: a topic does not exist.
        TransientError: Kafka does not answer.
    """
    partitions = [tp for topic in topics for tp in kafka.partitions(topic)]
    committed = kafka.committed(SINK_GROUP, partitions)
    bounds = kafka.bounds(partitions)
    unread = {tp: start for tp in partitions if (start := max(committed.get(tp, 0), bounds[tp].begin)) < bounds[tp].end}
    oldest: dict[TopicPartition, datetime] = {}
    for message in kafka.read(unread, {tp: start + 1 for tp, start in unread.items()}):
        if (at := kafka_datetime(message)) is not None:
            oldest[message.topic(), message.partition()] = at
    return [PartitionLag(*tp, committed.get(tp), bounds[tp].begin, bounds[tp].end, oldest.get(tp)) for tp in partitions]


def plan(kafka: OperatorKafka, partitions: Collection[TopicPartition], target: Target) -> list[Move]:
    """Return what setting the sink's offsets to a target would do, and change nothing.

    Raises:
        PermanentError: the topic does not have the offset.
        TransientError: Kafka does not answer.
    """
    committed = kafka.committed(SINK_GROUP, partitions)
    bounds = kafka.bounds(partitions)
    times = kafka.offsets_at(partitions, target) if isinstance(target, datetime) else {}
    moves = []
    for tp in sorted(partitions):
        begin, end = bounds[tp].begin, bounds[tp].end
        after = target if isinstance(target, int) else times.get(tp, begin)
        if after < begin:
            raise PermanentError(
                f"`{tp[0]}` partition {tp[1]} begins at {begin}: retention has dropped {after}. Go to {begin};"
                " what came before must be produced again by its source.",
            )
        if after > end:
            raise PermanentError(
                f"`{tp[0]}` partition {tp[1]} ends at {end}: there is no {after} yet. Go to {end} at most.",
            )
        moves.append(Move(*tp, committed.get(tp), after, begin, end))
    return moves


def move(kafka: OperatorKafka, moves: Collection[Move], *, allow_skip: bool = False) -> None:
    """Set the sink's offsets.

    Args:
        moves: From `plan`.
        allow_skip: Whether records may be left unread for good.

    Raises:
        PermanentError: a sink runs, or records would be skipped.
        TransientError: Kafka does not answer.
    """
    refuse_members(kafka.group(SINK_GROUP))
    skipped = sum(each.skipped for each in moves)
    if skipped and not allow_skip:
        which = ", ".join(f"`{m.topic}` partition {m.partition}: {m.skipped:,}" for m in moves if m.skipped)
        raise PermanentError(
            f"{counted(skipped, 'record')} would never be read ({which}), because the new offset lies after the"
            " committed one. Go to an earlier one, or add `--allow-skip` if these records are not wanted.",
        )
    changed: Mapping[TopicPartition, int] = {
        (each.topic, each.partition): each.after for each in moves if each.after != each.before
    }
    if changed:
        kafka.alter(SINK_GROUP, changed)


def refuse_members(group: Group) -> None:
    """Check that no sink runs.

    Raises:
        PermanentError: one does; the message names it.
    """
    if group.members:
        who = ", ".join(f"`{member.client_id}` on `{member.host.lstrip('/')}`" for member in group.members)
        raise PermanentError(
            f"Group `{group.name}` has {counted(len(group.members), 'running member')}: {who}. They would overwrite the"
            " offsets. Stop every sink (SIGTERM; `make down` on a laptop, scale the deployment to 0 in a cluster); one"
            " that was killed leaves the group after 10 s.",
        )
