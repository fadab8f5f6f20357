"""The runs of one Kafka partition in a poll, and where a recreated topic begins again: its offsets go back.

A file says which offsets it holds, so it must not hold one twice. What is done about it belongs to `sink.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from platform_kafka.records import Message, TopicPartition


@dataclass(frozen=True)
class Run:
    """Messages of one Kafka partition that came one after another, and their offsets: a client's getters cost."""

    tp: TopicPartition
    messages: Sequence[Message]
    offsets: Sequence[int]


def runs_of(messages: Sequence[Message]) -> list[Run]:
    """Return messages, at least one, as runs in order of arrival."""
    topics = [message.topic() for message in messages]
    partitions = [message.partition() for message in messages]
    offsets = [message.offset() for message in messages]
    # As in a backlog; so it takes half of the time.
    if topics.count(topics[0]) == partitions.count(partitions[0]) == len(messages):
        return [Run((topics[0], partitions[0]), messages, offsets)]
    runs = []
    start = 0
    for tp, of_run in groupby(zip(topics, partitions, strict=True)):
        stop = start + sum(1 for _ in of_run)
        runs.append(Run(tp, messages[start:stop], offsets[start:stop]))
        start = stop
    return runs


def incarnations(runs: Iterable[Run], positions: Mapping[TopicPartition, int]) -> list[list[Run]]:
    """Return the runs in parts within which no offset goes back, the first part going on from the positions.

    Args:
        runs: Of one topic, in order of arrival.
        positions: The offset that each Kafka partition delivers next, if it was read.
    """
    parts: list[list[Run]] = [[]]
    next_offsets = dict(positions)
    for run in runs:
        for ascending in _ascending(run):
            if ascending.offsets[0] < next_offsets.get(run.tp, 0):
                parts.append([])
            next_offsets[run.tp] = ascending.offsets[-1] + 1
            parts[-1].append(ascending)
    return parts


def _ascending(run: Run) -> list[Run]:
    starts = [number for number, (one, other) in enumerate(pairwise(run.offsets), 1) if other <= one]
    if not starts:
        return [run]
    bounds = pairwise([0, *starts, len(run.offsets)])
    return [Run(run.tp, run.messages[start:stop], run.offsets[start:stop]) for start, stop in bounds]
