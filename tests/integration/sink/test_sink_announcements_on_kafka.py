"""The reader of the ledger on a real Kafka."""

from __future__ import annotations

import json
import time
from datetime import date

import pytest
from confluent_kafka import TopicPartition

from platform_core.topics import PROCESSED_EVENTS
from sink.announcements import Announcements

DAY = date(2026, 11, 20)


@pytest.fixture
def reader(bench):
    bench.create_topics()
    reader = Announcements(bench.settings)
    yield reader
    reader.close()
    # Other tests read every record of the ledger, and some of these are no records of a file.
    make_anew(bench)


def announce(bench, count: int = 1, value: bytes | None = None) -> None:
    producer = bench.producer()
    record = json.dumps({"domain": "events", "partition_date": DAY.isoformat()}).encode()
    for number in range(count):
        producer.produce(PROCESSED_EVENTS, record if value is None else value, str(number))
    assert producer.flush(30) == 0


def make_anew(bench) -> None:
    for done in bench.admin.delete_topics([PROCESSED_EVENTS]).values():
        done.result()
    bench.wait(lambda: PROCESSED_EVENTS not in bench.admin.list_topics(timeout=10).topics)
    time.sleep(1)
    bench.create_topics()


def test_a_first_position_is_the_end_and_nothing_is_new_there(bench, reader):
    announce(bench, 3)
    first = reader.since(None)
    assert (first.dates, first.complete, len(first.position)) == (frozenset(), True, 6)
    started = time.monotonic()
    assert reader.since(first.position) == first
    assert time.monotonic() - started < 0.5


def test_the_sinks_files_are_announced_once_with_their_dates(bench, reader):
    position = reader.since(None).position
    bench.produce(50)
    bench.run("--until-caught-up")
    expected = {("events", date.fromisoformat(path.parent.name.split("=")[1])) for path in bench.files()}
    assert len(expected) == 5
    found = reader.since(position)
    assert (found.dates, found.complete) == (expected, True)
    assert reader.since(found.position).dates == frozenset()
    # Another process, with the stored position of before.
    other = Announcements(bench.settings)
    assert other.since(position) == found
    other.close()


def test_a_record_that_cannot_be_read_is_passed(bench, reader):
    position = reader.since(None).position
    for value in (b"", b"{}", b"[]", b'{"domain": "events", "partition_date": 7}'):
        announce(bench, 1, value)
    announce(bench)
    found = reader.since(position)
    assert (found.dates, found.complete) == ({("events", DAY)}, True)


def test_a_ledger_made_anew_is_read_from_its_begin(bench, reader):
    announce(bench, 50)
    position = reader.since(None).position
    make_anew(bench)
    announce(bench)
    bench.wait(lambda: reader.since(position).complete)
    found = reader.since(position)
    assert (found.dates, found.complete) == ({("events", DAY)}, True)
    assert sum(found.position.values()) == 1


def test_a_position_that_retention_has_passed_moves_on_without_a_new_record(bench, reader):
    announce(bench, 50)
    ends = reader.since(None).position
    for done in bench.admin.delete_records(
        [TopicPartition(PROCESSED_EVENTS, p, at) for p, at in ends.items()]
    ).values():
        done.result()
    found = reader.since(dict.fromkeys(ends, 0))
    assert (found.dates, found.position, found.complete) == (frozenset(), ends, True)
    announce(bench)
    assert reader.since(found.position).dates == {("events", DAY)}


@pytest.mark.parametrize("position", [None, {0: 5}])
def test_without_kafka_the_position_stays_and_nobody_waits_twice(bench, position):
    reader = Announcements(bench.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
    started = time.monotonic()
    found = reader.since(position)
    assert (found.dates, found.position, found.complete) == (frozenset(), position or {}, False)
    assert time.monotonic() - started < 5
    started = time.monotonic()
    assert not reader.since(position).complete
    assert time.monotonic() - started < 0.1
