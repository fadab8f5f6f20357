from __future__ import annotations

import json
import time

from tests.rigs.sink.samples import EVENT, encoded


def put_without_commit(rig, count=5):
    rig.broker.commits_fail = True
    for number in range(count):
        rig.event(day=1 + number % 2, partition=number % 2)
    rig.step()
    rig.step(seconds=60)
    rig.broker.commits_fail = False
    assert rig.store.files and not rig.committed


def test_a_restart_after_a_kill_between_put_and_commit_writes_nothing_twice(rig):
    put_without_commit(rig)
    rig.event(day=3)
    before = dict(rig.store.files)
    rig.kill_and_restart()
    rig.step()
    rig.step(seconds=60)
    recognised = rig.sink.metrics.registry.get_sample_value("pdp_sink_recognised_records_total")
    assert recognised == 5, "counted, and the record that came later is not"
    assert len(set(rig.store.offsets())) == len(rig.store.offsets()) == 6
    assert before.items() <= rig.store.files.items() and len(rig.store.files) == len(before) + 1
    assert rig.committed == {0: 4, 1: 2}


def test_recognised_files_are_announced_once_and_the_journal_is_empty_again(rig):
    put_without_commit(rig)
    files = set(rig.store.files)
    rig.kill_and_restart()
    for _ in range(3):
        rig.step(seconds=60)
        rig.sink._recovery._next_look_at_commits = 0.0  # the coordinator is asked once a second
    records = [json.loads(value) for _, value, _ in rig.publisher.records["processed-events"]]
    assert {r["file"] for r in records} == files and len(records) == len(files)
    assert all(r["recovered"] and r["rows"] and r["bytes"] for r in records)
    rig.sink.close()
    assert not rig.store.journal


def test_a_run_shorter_than_a_second_announces_what_it_recognised(rig):
    put_without_commit(rig)
    files = set(rig.store.files)
    rig.broker.forget()
    rig.publisher.forget()
    rig.sink = rig.make_sink()
    rig.sink._recovery._next_look_at_commits = time.monotonic() + 1_000  # the coordinator was asked a moment ago
    assert rig.sink.run(lambda: False, until={("raw-events", 0): 3, ("raw-events", 1): 2})
    records = [json.loads(value) for _, value, _ in rig.publisher.records["processed-events"]]
    assert {record["file"] for record in records} == files
    assert not rig.store.journal


def test_a_clean_life_leaves_no_journal(rig):
    for day in (1, 2):
        for _ in range(7):
            rig.event(day=day)
    rig.step()
    assert rig.sink.close()
    assert not rig.store.journal and len(rig.publisher.records["processed-events"]) == len(rig.store.files)


def test_the_journal_stays_until_the_offsets_are_committed(rig):
    rig.event(day=1)  # holds the partition's offset back
    for _ in range(5):
        rig.event(day=2)
    rig.step()
    rig.step()
    assert len(rig.publisher.records["processed-events"]) == 1 and 0 not in rig.committed
    rig.kill_and_restart()
    rig.step()
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, offset) for offset in range(6)]


def test_the_same_offsets_of_a_topic_that_was_made_anew_are_read(rig):
    put_without_commit(rig)
    for partition in (0, 1):
        rig.broker.logs["raw-events", partition].clear()
    for number in range(5):
        rig.broker.append("raw-events", value(rig, number), partition=number % 2, timestamp=(1, 1_800_000_000_000))
    rig.kill_and_restart()
    rig.step()
    rig.step(seconds=60)
    assert len(rig.store.offsets()) == 10


def test_a_record_of_a_topic_that_was_made_anew_may_have_the_same_time_and_another_key(rig):
    put_without_commit(rig)
    for partition in (0, 1):
        rig.broker.logs["raw-events", partition].clear()
    for number in range(5):
        rig.broker.append("raw-events", value(rig, number), partition=number % 2, key=b"another")
    rig.kill_and_restart()
    rig.step()
    rig.step(seconds=60)
    assert len(rig.store.offsets()) == 10


def test_the_journal_keeps_an_entry_until_the_last_of_its_records_is_committed(rig):
    put_without_commit(rig)
    rig.kill_and_restart()
    ends = {("raw-events", 0): 3, ("raw-events", 1): 2}
    (adopted,) = rig.sink._recovery._adopted
    assert adopted.ends == ends and len(adopted.files) == len(rig.store.files) > 0
    for partition, end in ends.items():
        assert not adopted.is_committed({**ends, partition: end - 1})
    assert adopted.is_committed(ends)


def test_a_record_that_comes_after_those_of_a_killed_process_costs_no_search_of_them(rig):
    class Unsearched(dict):
        def __iter__(self):
            raise AssertionError("a crash with large files would be read in quadratic time")

    put_without_commit(rig)
    rig.kill_and_restart()
    stored = rig.sink._recovery._stored
    stored.update({tp: Unsearched(identities) for tp, identities in stored.items()})
    for _ in range(3):
        rig.event(day=3)
    rig.step()
    assert len(rig.store.offsets()) == 5 and rig.sink._held_rows() == 3


def test_a_file_that_nobody_can_read_is_written_again(rig):
    put_without_commit(rig, count=1)
    (name,) = rig.store.files
    rig.store.files[name] = rig.store.files[name].slice(0, 40)
    rig.kill_and_restart()
    rig.step()
    rig.step(seconds=60)
    rig.store.files.pop(name)
    assert rig.store.offsets() == [(0, 0)]


def test_partitions_wait_until_the_store_says_what_it_has(rig):
    put_without_commit(rig)
    rig.store.failing = True
    rig.kill_and_restart()
    assert rig.broker.paused
    rig.step(seconds=60)
    assert rig.broker.paused
    rig.store.failing = False
    rig.step(seconds=60)
    rig.step(seconds=60)
    rig.step(seconds=60)
    assert not rig.broker.paused
    assert len(rig.store.offsets()) == len(set(rig.store.offsets())) == 5


def value(rig, number):

    return encoded(EVENT, event_timestamp=f"2026-03-0{1 + number % 2}T10:00:00Z")
