"""The reader of the ledger on a real Kafka."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from confluent_kafka import TopicPartition

from platform_kafka.announcements import Announcements
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.topic_reader import TopicReader
from platform_kafka.topics import PROCESSED_EVENTS

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def reader(sink_rig):
    sink_rig.create_topics()
    reader = Announcements(sink_rig.settings)
    yield reader
    reader.close()
    # Other tests read every record of the ledger, and some of these are no records of a file.
    sink_rig.recreate_topic(PROCESSED_EVENTS)


def announce(sink_rig, count: int = 1, value: bytes | None = None) -> None:
    producer = sink_rig.producer()
    record = LedgerRecord("events", "raw-events", DAY, "part-0.parquet", 1, 1, {}, NOW).to_json()
    for number in range(count):
        producer.produce(PROCESSED_EVENTS, record if value is None else value, str(number))
    assert producer.flush(30) == 0


def test_a_first_position_is_the_end_and_nothing_is_new_there(sink_rig, reader):
    announce(sink_rig, 3)
    first = reader.since(None)
    assert (first.dates, first.complete, len(first.position)) == (frozenset(), True, 6)
    assert reader.since(first.position) == first


def test_the_sinks_files_are_announced_once_with_their_dates(sink_rig, reader):
    position = reader.since(None).position
    sink_rig.produce(50)
    sink_rig.run("--until-caught-up")
    expected = {("events", date.fromisoformat(path.parent.name.split("=")[1])) for path in sink_rig.files()}
    assert len(expected) == 5
    found = reader.since(position)
    assert (found.dates, found.complete) == (expected, True)
    assert reader.since(found.position).dates == frozenset()
    # Another process, with the stored position of before.
    other = Announcements(sink_rig.settings)
    assert other.since(position) == found
    other.close()


def test_a_record_that_cannot_be_read_is_passed(sink_rig, reader):
    position = reader.since(None).position
    for value in (b"", b"{}", b"[]", b'{"domain": "events", "topic": "raw-events", "partition_date": 7}'):
        announce(sink_rig, 1, value)
    announce(sink_rig)
    found = reader.since(position)
    assert (found.dates, found.complete) == ({("events", DAY)}, True)


def test_a_recreated_ledger_is_read_from_its_begin(sink_rig, reader):
    announce(sink_rig, 50)
    position = reader.since(None).position
    sink_rig.recreate_topic(PROCESSED_EVENTS)
    announce(sink_rig)
    sink_rig.wait(lambda: reader.since(position).complete)
    found = reader.since(position)
    assert (found.dates, found.complete) == ({("events", DAY)}, True)
    assert sum(found.position.values()) == 1


def test_a_position_that_retention_has_passed_moves_on_without_a_new_record(sink_rig, reader):
    announce(sink_rig, 50)
    ends = reader.since(None).position
    for done in sink_rig.admin.delete_records(
        [TopicPartition(PROCESSED_EVENTS, p, at) for p, at in ends.items()]
    ).values():
        done.result()
    found = reader.since(dict.fromkeys(ends, 0))
    assert (found.dates, found.position, found.complete) == (frozenset(), ends, True)
    announce(sink_rig)
    assert reader.since(found.position).dates == {("events", DAY)}


@pytest.mark.parametrize("position", [None, {0: 5}])
def test_without_kafka_the_position_stays_and_nobody_waits_twice(sink_rig, position, monkeypatch):
    asked, bounds = [], TopicReader.bounds
    monkeypatch.setattr(TopicReader, "bounds", lambda self, topics: asked.append(topics) or bounds(self, topics))
    reader = Announcements(sink_rig.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
    found = reader.since(position)
    assert (found.dates, found.position, found.complete) == (frozenset(), position or {}, False)
    assert not reader.since(position).complete
    assert len(asked) == 1, "who was not answered asks no second time at once"
