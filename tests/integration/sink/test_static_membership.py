"""A rolling restart of sinks: with an instance id the others keep what they have, and two of one id are noticed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import pytest

from platform_core.errors import PermanentError
from platform_kafka.records import TopicPartition
from sink.kafka import KafkaBroker
from tests.rigs.sink_rig import PARTITIONS, SinkRig

SECONDS = 90


class Member:
    """A sink's consumer, and what it was told."""

    def __init__(self, rig: SinkRig, name: str | None) -> None:
        self.owned: set[TopicPartition] = set()
        self.revocations = 0
        self.broker = KafkaBroker(rig.settings.model_copy(update={"sink_instance_id": name}))
        self.broker.subscribe([rig.topic], self)

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.owned |= set(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.revocations += 1
        self.owned -= set(partitions)

    lost = revoked


def poll_until(what: str, reached: Callable[[], bool], *members: Member) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, what
        for member in members:
            member.broker.consume(100, 0.1)


def is_shared(*members: Member) -> bool:
    return all(member.owned for member in members) and sum(len(member.owned) for member in members) == PARTITIONS


@pytest.mark.parametrize("static", [True, False])
def test_a_restart_takes_nothing_from_the_others(sink_rig: SinkRig, static: bool) -> None:
    sink_rig.create_topics()
    names = ("sink-0", "sink-1") if static else (None, None)
    first, second = (Member(sink_rig, name) for name in names)
    poll_until("both share", lambda: is_shared(first, second), first, second)
    before, revocations = set(first.owned), second.revocations
    first.broker.close()
    first = Member(sink_rig, names[0])
    poll_until("both share again", lambda: is_shared(first, second), first, second)
    assert (second.revocations == revocations) is static
    if static:
        assert first.owned == before
        usurper = Member(sink_rig, names[0])
        with pytest.raises(PermanentError, match="the same SINK_INSTANCE_ID `sink-0`"):
            poll_until("the first one is fenced", lambda: False, usurper, first)
        usurper.broker.close()
    first.broker.close()
    second.broker.close()
