from __future__ import annotations

import json
import threading

import pytest

from platform_core.errors import PermanentError
from sink.health import sink_health
from tests.rigs.sink_samples import EVENT, encoded


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
    assert len(set(rig.store.offsets())) == len(rig.store.offsets()) == 6
    assert before.items() <= rig.store.files.items() and len(rig.store.files) == len(before) + 1
    assert rig.committed == {0: 4, 1: 2}


def test_recognised_files_are_announced_once_and_the_journal_is_empty_again(rig):
    put_without_commit(rig)
    files = set(rig.store.files)
    rig.kill_and_restart()
    for _ in range(3):
        rig.step(seconds=60)
        rig.sink._next_adoption = 0.0  # the coordinator is asked once a second
    records = [json.loads(value) for _, value, _ in rig.publisher.records["processed-events"]]
    assert {r["file"] for r in records} == files and len(records) == len(files)
    assert all(r["recovered"] and r["rows"] and r["bytes"] for r in records)
    rig.sink.close()
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
    recovery, ends = rig.sink._recovery, {("raw-events", 0): 3, ("raw-events", 1): 2}
    assert recovery.waiting == set(ends)
    for partition, end in ends.items():
        assert recovery.finish({**ends, partition: end - 1}) == []
    assert sum(len(files) for _, files in recovery.finish(ends)) == len(rig.store.files) > 0


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


def test_a_topic_of_which_half_is_refused_stops_the_sink_before_it_diverts_the_rest(make_rig):
    rig = make_rig(sink_flush_buffer_size=100).start()
    for _ in range(3_000):
        rig.event()
    for _ in range(5):
        rig.step()
    for _ in range(3_000):
        rig.broker.append("raw-events", b"{broken")
    with pytest.raises(PermanentError) as refused:
        for _ in range(10):
            rig.step()
    assert "`raw-events`" in refused.value.message and "malformed_json 1000" in refused.value.message
    assert len(rig.publisher.records["dlq-raw-events"]) < 1_000
    assert rig.committed[0] <= 4_000


def test_one_bad_record_among_many_does_not_stop_it_and_neither_does_a_ratio_of_one(make_rig):
    for ratio, bad in ((0.5, 300), (1, 3_000)):
        rig = make_rig(sink_max_refused_ratio=ratio).start()
        for _ in range(bad):
            rig.broker.append("raw-events", b"{broken")
            if ratio < 1:
                rig.event()
                rig.event()
        for _ in range(10):
            rig.step()
        assert len(rig.publisher.records["dlq-raw-events"]) == bad


def test_a_flush_on_request_commits_what_was_buffered(rig):

    rig.event()
    rig.step()
    answers: list[dict] = []
    asking = threading.Thread(target=lambda: answers.append(rig.sink.request_flush(10)))
    asking.start()
    while asking.is_alive():
        rig.step()
    asking.join()
    assert answers[0]["drained"] is True and answers[0]["rows"] == 1
    assert rig.committed[0] == 1


def test_the_metrics_say_what_happened(rig):
    for _ in range(6):
        rig.event()
    rig.broker.append("raw-events", b"{broken")
    rig.step()
    get = rig.sink.metrics.registry.get_sample_value
    assert get("pdp_sink_records_total", {"topic": "raw-events"}) == 7
    assert get("pdp_sink_bytes_total", {"topic": "raw-events"}) > 500
    assert get("pdp_sink_dead_letters_total", {"topic": "raw-events", "reason": "malformed_json"}) == 1
    assert get("pdp_sink_flushes_total", {"reason": "rows"}) == 1
    assert get("pdp_sink_rows_written_total", {"topic": "raw-events"}) == 5
    assert get("pdp_sink_buffered_records") == 1
    assert get("pdp_sink_lag_records", {"topic": "raw-events", "partition": "0"}) == 0
    rig.step(seconds=59)
    assert get("pdp_sink_oldest_unflushed_seconds") == 59
    rig.step(seconds=1)
    assert get("pdp_sink_flushes_total", {"reason": "age"}) == 1
    assert get("pdp_sink_oldest_unflushed_seconds") == 0


def test_health_tells_an_outage_from_a_loop_that_hangs(rig, monkeypatch):
    assert sink_health(rig.sink, rig.clock.now()).status == "ok"
    rig.event()
    rig.step()
    rig.store.failing = True
    rig.step(seconds=60)
    rig.clock.advance(seconds=90)
    outage = sink_health(rig.sink, rig.clock.now())
    assert outage.status == "degraded" and outage.facts["failing_seconds"] == 90
    monkeypatch.setattr(rig.sink, "_stepped_at", rig.sink._stepped_at - 200)
    assert sink_health(rig.sink, rig.clock.now()).status == "failing"


def test_a_sink_that_was_frozen_writes_nothing_until_it_knows_whether_it_is_still_a_member(rig, monkeypatch):
    rig.event()
    rig.step()
    consume, clock = rig.broker.consume, {"now": 100.0}
    monkeypatch.setattr("sink.loop.time.monotonic", lambda: clock["now"])

    def frozen(*arguments):
        clock["now"] += 30
        return consume(*arguments)

    monkeypatch.setattr(rig.broker, "consume", frozen)
    rig.step(seconds=60)
    assert not rig.store.files
    monkeypatch.setattr(rig.broker, "consume", consume)
    clock["now"] += 2
    rig.step(seconds=1)
    assert rig.store.offsets() == [(0, 0)]
