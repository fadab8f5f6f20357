"""The bounded reading of a topic, on a client held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import ClusterMetadata, PartitionMetadata, TopicMetadata

from platform_core.errors import TransientError
from platform_core.settings import Settings
from platform_kafka.errors import KafkaUnreachableError
from platform_kafka.topic_reader import TopicReader

TOPIC = "raw-events"
END_OF_PARTITION = ck.KafkaError(ck.KafkaError._PARTITION_EOF)


@dataclass
class Event:
    """What the client hands over: a record, or an error."""

    at: tuple[int, int]
    code: ck.KafkaError | None = None

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def error(self) -> ck.KafkaError | None:
        return self.code


@dataclass
class Client:
    """Two partitions with a marker at offset 2, and what the reader did."""

    offsets: dict[int, list[int]] = field(default_factory=lambda: {0: [0, 1, 3, 4], 1: [0, 1]})
    ends: dict[int, int] = field(default_factory=lambda: {0: 6, 1: 2})
    queue: deque[Event] = field(default_factory=deque)
    assigned: list[tuple[int, int]] = field(default_factory=list)
    silent: bool = False
    failure: ck.KafkaError | None = None
    closed: int = 0
    elections: deque[int] = field(default_factory=deque)
    topic_errors: deque[int] = field(default_factory=deque)

    def list_topics(self, timeout: float) -> ClusterMetadata:
        topic = TopicMetadata()
        topic.partitions = dict.fromkeys(self.offsets, PartitionMetadata())
        topic.error = ck.KafkaError(self.topic_errors.popleft()) if self.topic_errors else None
        cluster = ClusterMetadata()
        cluster.topics = {TOPIC: topic}
        return cluster

    def get_watermark_offsets(self, tp: ck.TopicPartition, timeout: float) -> tuple[int, int]:
        if self.elections:
            raise ck.KafkaException(ck.KafkaError(self.elections.popleft()))
        return 0, self.ends[tp.partition]

    def assign(self, partitions: list[ck.TopicPartition]) -> None:
        self.queue.clear()
        for tp in partitions:
            self.assigned.append((tp.partition, tp.offset))
            self.queue += [Event((tp.partition, o)) for o in self.offsets[tp.partition] if o >= tp.offset]
            self.queue.append(Event((tp.partition, self.ends[tp.partition]), END_OF_PARTITION))

    def unassign(self) -> None:
        self.queue.clear()

    def poll(self, timeout: float) -> Event | None:
        if self.failure is not None:
            return Event((0, 0), self.failure)
        return self.queue.popleft() if self.queue and not self.silent else None

    def consume(self, count: int, timeout: float) -> list[Event]:
        return [self.queue.popleft() for _ in range(min(count, len(self.queue)))]

    def pause(self, partitions: list[ck.TopicPartition]) -> None: ...

    def resume(self, partitions: list[ck.TopicPartition]) -> None: ...

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(ck, "Consumer", lambda *_, **__: client)
    return client


@pytest.fixture
def reader(client: Client) -> Iterator[TopicReader]:
    reader = TopicReader(Settings(), "test", answer_seconds=0.05)
    yield reader
    reader.close()


def of(*offsets: int) -> dict[tuple[str, int], int]:
    return {(TOPIC, partition): offset for partition, offset in enumerate(offsets)}


def test_every_record_before_the_ends_comes_once_and_the_position_passes_a_marker(reader: TopicReader) -> None:
    position = of(0, 1)
    records = [(m.partition(), m.offset()) for m in reader.read_all(position, of(6, 2))]
    assert records == [(0, 0), (0, 1), (0, 3), (0, 4), (1, 1)]
    assert position == of(6, 2), "offset 5 is a marker: no record will ever move the position over it"


def test_a_record_after_the_end_is_left_for_the_next_reading(reader: TopicReader) -> None:
    position = of(0)
    assert [m.offset() for m in reader.read_all(position, of(3))] == [0, 1]
    assert position == of(3)
    assert [m.offset() for m in reader.read_all(position, of(6))] == [3, 4]


def test_a_reading_that_its_caller_leaves_goes_on_after_the_last_record_that_it_took(
    reader: TopicReader, client: Client
) -> None:
    position = of(0)
    with closing(reader.read(position, of(6), 1.0)) as arriving:
        assert next(arriving).offset() == 0
    assert position == of(1)
    assert [m.offset() for m in reader.read(position, of(6), 1.0)] == [1, 3, 4]
    assert client.assigned == [(0, 0), (0, 1)]


def test_nothing_to_read_asks_nobody(reader: TopicReader, client: Client) -> None:
    assert list(reader.read_all(of(6, 2), of(6, 2))) == [] and not client.assigned


def test_a_broker_that_sends_nothing_is_an_outage_to_who_wants_all_and_a_pause_to_who_has_a_time(
    reader: TopicReader, client: Client
) -> None:
    client.silent = True
    position = of(0, 0)
    assert list(reader.read(position, of(6, 2), 0.05)) == [] and position == of(0, 0)
    with pytest.raises(TransientError, match="sent nothing of `raw-events`-0, `raw-events`-1"):
        list(reader.read_all(position, of(6, 2)))


def test_an_error_closes_the_client_and_the_next_reading_makes_another(reader: TopicReader, client: Client) -> None:
    client.failure = ck.KafkaError(ck.KafkaError._ALL_BROKERS_DOWN)
    with pytest.raises(KafkaUnreachableError, match="records of `raw-events`-0"):
        list(reader.read_all(of(0), of(6)))
    assert client.closed == 1
    client.failure = None
    assert len(list(reader.read_all(of(0), of(6)))) == 4


BOUNDS = {TOPIC: {0: (0, 6), 1: (0, 2)}}


@pytest.mark.parametrize(
    "code",
    [ck.KafkaError.NOT_LEADER_FOR_PARTITION, ck.KafkaError.LEADER_NOT_AVAILABLE, ck.KafkaError.OFFSET_NOT_AVAILABLE],
)
def test_bounds_are_asked_again_while_a_leader_is_elected(reader: TopicReader, client: Client, code: int) -> None:
    client.elections += [code]
    assert reader.bounds([TOPIC]) == BOUNDS and not client.closed


def test_an_election_without_end_is_an_outage(reader: TopicReader, client: Client) -> None:
    client.elections += [ck.KafkaError.NOT_LEADER_FOR_PARTITION] * 1_000
    with pytest.raises(KafkaUnreachableError, match="the bounds of topics"):
        reader.bounds([TOPIC])
    assert client.closed == 1


def test_a_topic_whose_leader_is_not_known_is_not_taken_for_a_missing_one(reader: TopicReader, client: Client) -> None:
    client.topic_errors += [ck.KafkaError.LEADER_NOT_AVAILABLE]
    assert reader.bounds([TOPIC]) == BOUNDS
    client.topic_errors += [ck.KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(KafkaUnreachableError, match=r"[Aa]uthorization"):
        reader.bounds([TOPIC])


def test_a_topic_that_is_missing_is_left_out(reader: TopicReader, client: Client) -> None:
    assert reader.bounds(["no-such-topic"]) == {}
    client.topic_errors += [ck.KafkaError.UNKNOWN_TOPIC_OR_PART]
    assert reader.bounds([TOPIC]) == {}
