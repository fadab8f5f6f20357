"""Where a topic that was deleted and recreated under the running sink begins again: its offsets go back.

A file says which offsets it holds, so it must not hold one twice. What is done about it belongs to `sink.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from platform_kafka.records import Message, TopicPartition

Run = tuple[TopicPartition, Sequence[Message]]
"""Messages of one Kafka partition that came one after another."""


def incarnations(runs: Iterable[Run], positions: Mapping[TopicPartition, int]) -> list[list[Run]]:
    """Return the runs in parts within which no offset goes back, the first part going on from the positions.

    Args:
        runs: Of one topic, in order of arrival.
        positions: The offset that each Kafka partition delivers next, if it was read.
    """
    parts: list[list[Run]] = [[]]
    next_offsets = dict(positions)
    for tp, messages in runs:
        for ascending in _ascending(messages):
            if ascending[0].offset() < next_offsets.get(tp, 0):
                parts.append([])
            next_offsets[tp] = ascending[-1].offset() + 1
            parts[-1].append((tp, ascending))
    return parts


def _ascending(messages: Sequence[Message]) -> list[Sequence[Message]]:
    offsets = [message.offset() for message in messages]
    starts = [number for number, (one, other) in enumerate(pairwise(offsets), 1) if other <= one]
    return [messages[start:stop] for start, stop in pairwise([0, *starts, len(messages)])]
