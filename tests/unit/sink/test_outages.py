"""PUTs of which nobody knows whether they are stored, while partitions move; and the limits of an outage."""

from __future__ import annotations

import threading

import pytest

from sink.backoff import Backoff
from sink.bronze.files import PARALLEL_WRITES
from tests.rigs.sink.samples import EVENT, encoded


def put_with_a_lost_answer(rig) -> None:
    """Five rows of two Kafka partitions in one file, and nobody knows whether it is stored."""
    for partition in (0, 0, 0, 1, 1):
        rig.event(partition=partition)
    rig.store.loses_answer = True
    rig.step()
    rig.store.loses_answer = False


def test_a_put_whose_answer_was_lost_is_looked_for_when_some_of_its_rows_are_another_sinks(rig):
    put_with_a_lost_answer(rig)
    rig.broker.revoke([("raw-events", 1)], lost=True)
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert len(rig.store.files) == 1
    assert rig.committed == {0: 3}


def test_fewer_rows_have_a_file_of_another_name_so_that_a_put_on_its_way_is_not_overwritten(rig):
    put_with_a_lost_answer(rig)
    on_its_way = dict(rig.store.files)
    rig.store.files.clear()
    rig.broker.revoke([("raw-events", 1)], lost=True)
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, 0), (0, 1), (0, 2)]
    assert not on_its_way.keys() & rig.store.files.keys()


def test_an_outage_ends_the_attempt_with_the_first_group_of_files(rig):
    for day in range(10, 19):
        rig.broker.append("raw-events", encoded(EVENT, event_timestamp=f"2026-02-{day}T10:00:00Z"))
    rig.step()
    rig.store.loses_answer = True
    rig.step(seconds=60)
    assert len(rig.store.puts) == PARALLEL_WRITES


def test_pauses_double_and_are_never_longer_than_half_a_minute():
    backoff, now, pauses = Backoff(), 100.0, []
    for _ in range(8):
        backoff.failed(now)
        pauses.append(next(n for n in range(10_000) if not backoff.waiting(now + n)))
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_letters_that_nobody_confirms_count_for_the_memory_of_the_rows(make_rig):
    rig = make_rig(sink_max_buffered_bytes=20_000).start()
    rig.publisher.confirming = False
    rig.broker.append("raw-events", b"{" * 18_500)
    rig.event()
    rig.step()
    assert len(rig.store.files) == 1, "the row alone is within the limit, with the letter it is not"


def test_a_wall_clock_that_is_set_back_delays_neither_a_file_nor_the_next_attempt(rig):
    rig.event()
    rig.step()
    rig.clock.step(hours=-1)
    rig.store.failing_puts = True
    rig.step(seconds=60)
    assert len(rig.store.puts) == 1, "a buffer's age is no difference of two times of the wall clock"
    rig.clock.step(hours=-1)
    rig.store.failing_puts = False
    rig.step(seconds=1)
    assert rig.store.offsets() == [(0, 0)]


def test_a_wall_clock_that_is_set_forward_makes_no_small_files(rig):
    rig.event()
    rig.step()
    rig.clock.step(hours=1)
    rig.step(seconds=1)
    assert not rig.store.puts


@pytest.mark.parametrize("hanging", ["put", "journal"])
def test_a_drain_does_not_wait_for_a_store_that_hangs(rig, monkeypatch, hanging):
    asked, answered = threading.Event(), threading.Event()
    put = rig.store.put

    def hang(name, data):
        if ("/sink_journal/" in name) == (hanging == "journal"):
            asked.set()
            answered.wait(20)
        put(name, data)

    monkeypatch.setattr(rig.store, "put", hang)
    rig.event()
    rig.step()
    assert not rig.sink.flush() and asked.is_set()
    assert not answered.is_set() and 0 not in rig.committed
    assert rig.sink.store_failing_since is not None
    answered.set()
    rig.step(seconds=60)
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, 0)] and rig.committed[0] == 1
