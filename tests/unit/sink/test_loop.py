from __future__ import annotations

import json
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_core.errors import PermanentError, TransientError
from platform_kafka.publishing import RecordTooLargeError
from sink.consuming.broker import Batch
from sink.refusals.refusal_limit import WINDOW_RECORDS
from sink.watching.health import sink_health
from tests.rigs.sink.loop import BAD, SinkLoopCases
from tests.rigs.sink.samples import EVENT, ORDER, encoded


class TestOnMemory(SinkLoopCases):
    """The cases that a real broker must pass too."""


def test_a_buffer_spans_kafka_partitions_and_its_footer_says_which(rig):
    for partition in (0, 1, 0):
        rig.event(partition=partition)
    rig.step()
    rig.step(seconds=60)
    ((name, data),) = rig.store.files.items()
    footer = pq.read_metadata(pa.BufferReader(data)).metadata
    assert json.loads(footer[b"pdp.offsets"]) == {"raw-events": {"0": [[0, 1]], "1": [[0, 0]]}}
    assert rig.store.offsets() == [(0, 0), (0, 1), (1, 0)]
    rig.step()
    ((key, value, _),) = rig.publisher.records["processed-events"]
    assert key == b"events/2026-03-01"
    assert json.loads(value) | {"bytes": 0, "written_at": ""} == {
        "domain": "events",
        "topic": "raw-events",
        "partition_date": "2026-03-01",
        "file": name,
        "rows": 3,
        "bytes": 0,
        "offsets": {"0": [[0, 1]], "1": [[0, 0]]},
        "written_at": "",
    }


def test_a_store_outage_pauses_keeps_polling_and_sends_nothing_to_the_dlq(rig):
    rig.store.failing = True
    for _ in range(6):
        rig.event()
    rig.step()
    assert rig.broker.paused
    for _ in range(20):
        rig.step(seconds=5)
    assert 0 not in rig.committed
    assert not rig.publisher.records
    assert len(rig.store.puts) < 20, "attempts are spread by a backoff"
    rig.store.failing = False
    rig.step(seconds=60)
    assert not rig.broker.paused
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, offset) for offset in range(6)]
    assert rig.committed[0] == 6


def test_a_bad_record_holds_its_offset_back_until_its_letter_is_confirmed(rig):
    rig.publisher.confirming = False
    rig.broker.append("raw-events", BAD)
    for _ in range(5):
        rig.event()
    rig.step()
    assert rig.store.offsets() == [(0, offset) for offset in range(1, 6)]
    assert 0 not in rig.committed
    rig.publisher.confirming = True
    rig.step()
    assert rig.committed[0] == 6


def test_a_letter_has_the_bytes_the_reason_and_the_place(rig):
    rig.broker.append("raw-events", BAD, key=None, partition=1, headers=[("trace", b"x"), ("dlq.attempt", b"1")])
    rig.broker.append("raw-events", BAD, key=b"\xff", partition=1, headers=[("trace", b"x"), ("dlq.attempt", b"1")])
    rig.step()
    (first, second) = rig.publisher.records["dlq-raw-events"]
    assert first[:2] == (None, BAD) and second[:2] == (b"\xff", BAD)
    headers = dict(second[2])
    assert headers.pop("dlq.error")
    assert headers == {
        "trace": b"x",
        "dlq.topic": b"raw-events",
        "dlq.partition": b"1",
        "dlq.offset": b"1",
        "dlq.timestamp": b"2026-09-21T14:13:20+00:00",
        "dlq.error_class": b"malformed_json",
        "dlq.schema_id": b"",
        "dlq.attempt": b"2",
    }
    assert len(second[2]) == len(headers) + 1, "no header twice"


def test_a_letter_that_fails_for_a_while_is_sent_again(rig):
    rig.publisher.error = TransientError("The leader moved.")
    rig.broker.append("raw-events", BAD)
    rig.step()
    rig.step()
    assert 0 not in rig.committed
    rig.publisher.error = None
    rig.step()
    assert len(rig.publisher.records["dlq-raw-events"]) == 1
    assert rig.committed[0] == 1


def test_a_letter_that_no_broker_takes_goes_without_its_value(rig):
    rig.publisher.error = RecordTooLargeError("The record is too large.")
    rig.broker.append("raw-events", BAD)
    rig.step()
    rig.publisher.error = None
    rig.step()
    ((_, value, headers),) = rig.publisher.records["dlq-raw-events"]
    assert value is None and dict(headers)["dlq.value_omitted_bytes"] == b"7"
    assert rig.committed[0] == 1


def test_a_full_queue_to_the_dlq_pauses_instead_of_filling_the_memory(make_rig):
    rig = make_rig(sink_max_buffered_bytes=20_000).start()
    rig.publisher.full = True
    for _ in range(30):
        rig.broker.append("raw-events", BAD)
    rig.step()
    assert rig.broker.paused
    rig.publisher.full = False
    rig.step()
    assert not rig.broker.paused and rig.committed[0] == 30


def test_the_memory_budget_writes_the_largest_buffer_first(make_rig):
    rig = make_rig(sink_flush_buffer_size=1000, sink_max_buffered_bytes=15_000).start()
    rig.event(day=2)
    for _ in range(10):
        rig.event(day=1)
    rig.step()
    assert rig.store.offsets() == [(0, offset) for offset in range(1, 11)]


def test_a_revoke_writes_and_commits_everything_first(rig):
    rig.event()
    rig.event(partition=1)
    rig.broker.append("raw-events", BAD)
    rig.step()
    rig.broker.revoke([("raw-events", 0)])
    assert rig.store.offsets() == [(0, 0), (1, 0)]
    assert rig.committed == {0: 2, 1: 1}


def test_lost_partitions_are_dropped_without_a_commit_and_the_others_stay(rig):
    rig.event()
    rig.event(partition=1)
    rig.step()
    rig.broker.revoke([("raw-events", 0)], lost=True)
    rig.step(seconds=60)
    assert rig.store.offsets() == [(1, 0)]
    assert rig.committed == {1: 1}


def test_a_lost_partition_leaves_a_sealed_file_that_failed_to_be_written(rig):
    rig.store.failing = True
    for partition in (0, 1, 0, 1, 0):
        rig.event(partition=partition)
    rig.step()
    rig.broker.revoke([("raw-events", 0)], lost=True)
    rig.store.failing = False
    rig.step(seconds=60)
    assert rig.store.offsets() == [(1, 0), (1, 1)]


def test_a_record_that_arrives_after_its_partition_was_given_up_is_not_kept(rig, monkeypatch):
    rig.event()
    late = rig.broker.consume(10, 0)
    rig.broker.revoke([("raw-events", 0)])
    monkeypatch.setattr(rig.broker, "consume", lambda *_: late)
    rig.step()
    rig.step(seconds=60)
    assert not rig.store.files and 0 not in rig.committed


def test_a_topic_that_was_made_anew_is_committed_from_its_start(rig):
    for _ in range(5):
        rig.event()
    rig.step()
    assert rig.committed[0] == 5
    rig.broker.logs["raw-events", 0].clear()
    rig.broker.group.clear()
    rig.broker._positions["raw-events", 0] = 0
    rig.event()
    rig.step()
    rig.step(seconds=60)
    assert rig.committed[0] == 1


def test_losing_the_rows_that_could_not_be_written_ends_the_pause(rig):
    rig.store.failing = True
    rig.event()
    rig.step()
    rig.step(seconds=60)
    assert rig.broker.paused
    rig.broker.revoke([("raw-events", 0)], lost=True)
    rig.step(seconds=60)
    assert not rig.broker.paused and not rig.store.files


def test_a_failed_commit_is_repeated_and_the_ledger_waits_for_it(rig):
    rig.broker.commits_fail = True
    for _ in range(5):
        rig.event()
    rig.step()
    assert rig.store.files and not rig.publisher.records["processed-events"]
    rig.broker.commits_fail = False
    rig.step(seconds=60)
    assert rig.committed[0] == 5
    rig.step()
    assert len(rig.publisher.records["processed-events"]) == 1


def test_a_stop_drains_and_leaves(make_rig):
    rig = make_rig()
    rig.event()
    steps = iter([False, True])
    assert rig.sink.run(lambda: next(steps))
    assert rig.committed[0] == 1 and rig.broker.closed


def test_a_stop_during_an_outage_says_that_records_are_left(make_rig):
    rig = make_rig()
    rig.event()
    steps = iter([False, True])

    def stopping() -> bool:
        rig.store.failing = True  # from now on: partitions are assigned already
        return next(steps)

    assert not rig.sink.run(stopping)
    assert 0 not in rig.committed and rig.broker.closed


def test_until_ends_when_the_group_has_committed(make_rig):
    rig = make_rig()
    for _ in range(7):
        rig.event()
    assert rig.sink.run(lambda: False, until={("raw-events", 0): 7})
    assert rig.committed[0] == 7


def break_topic(rig, good=3_000, bad=3_000):
    for _ in range(good):
        rig.event()
    for _ in range(5):
        rig.step()
    for _ in range(bad):
        rig.broker.append("raw-events", b"{broken")


def test_a_topic_of_which_half_is_refused_is_paused_before_the_rest_is_diverted_and_the_others_go_on(make_rig):
    rig = make_rig(sink_flush_buffer_size=100).start()
    break_topic(rig)
    for _ in range(10):
        rig.step()
    assert list(rig.sink.paused_topics.problems) == ["raw-events"]
    assert len(rig.publisher.records["dlq-raw-events"]) < 1_000
    rig.broker.append("raw-orders", encoded(ORDER))
    for _ in range(3):
        rig.step(seconds=60)
    assert rig.broker.group["raw-orders", 0] == 1
    diverted = len(rig.publisher.records["dlq-raw-events"])
    assert rig.committed[0] == 3_000 + diverted, "what was taken is committed, what was left is not"
    health = sink_health(rig.sink, rig.clock.seconds())
    assert (health.status, health.facts["paused_topics"]) == ("degraded", ["raw-events"])


def test_a_paused_topic_raises_one_alert_that_names_it_and_the_reasons(make_rig):
    rig = make_rig(sink_flush_buffer_size=100).start()
    break_topic(rig)
    for _ in range(10):
        rig.step()
    ((key, value, _),) = rig.publisher.records["pipeline-alerts"]
    alert = json.loads(value)
    assert key.startswith(b"topic_paused:raw-events:")
    assert (alert["kind"], alert["domain"]) == ("TOPIC_PAUSED", "events")
    assert "`raw-events`" in alert["what"] and "malformed_json" in alert["what"]


def test_what_a_paused_topic_left_is_read_by_the_next_process(make_rig):
    rig = make_rig(sink_flush_buffer_size=100).start()
    break_topic(rig, good=0, bad=1_500)
    rig.step()
    rig.broker.revoke([("raw-events", 0)])
    rig.broker.assign([("raw-events", 0)])  # a rebalance alone does not resume it
    rig.step()
    assert rig.committed.get(0, 0) == 0 and not rig.publisher.records["dlq-raw-events"]
    rig.settings = rig.settings.model_copy(update={"sink_max_refused_ratio": 1.0})
    rig.kill_and_restart()
    for _ in range(4):
        rig.step()
    assert rig.committed[0] == len(rig.publisher.records["dlq-raw-events"]) == 1_500


def test_a_run_until_the_end_does_not_wait_for_a_paused_topic_and_says_so(make_rig):
    rig = make_rig(sink_flush_buffer_size=100)
    for _ in range(1_500):
        rig.broker.append("raw-events", b"{broken")
    rig.broker.append("raw-orders", encoded(ORDER))
    with pytest.raises(PermanentError, match="raw-events"):
        rig.sink.run(lambda: False, until={("raw-events", 0): 1_500, ("raw-orders", 0): 1})
    assert rig.broker.group == {("raw-orders", 0): 1}


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


def test_a_poll_of_several_windows_is_judged_window_by_window(make_rig):
    rig = make_rig(sink_flush_buffer_size=1_000).start()
    for value in [b"{broken"] * WINDOW_RECORDS + [encoded(EVENT)] * WINDOW_RECORDS:
        rig.broker.append("raw-events", value)
    rig.step()
    assert list(rig.sink.paused_topics.problems) == ["raw-events"]
    assert not rig.publisher.records["dlq-raw-events"] and not rig.store.files


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


@pytest.fixture(params=["broker.consume", "broker.commit", "broker.lag", "store.put"])
def frozen(request, make_rig, monkeypatch):
    """A sink that stands still for 30 seconds in one call of its next step, with twelve files' rows to come."""
    rig, now, done = make_rig(sink_flush_buffer_size=1).start(), {"seconds": 100.0}, []
    monkeypatch.setattr("sink.consuming.membership.time.monotonic", lambda: now["seconds"])
    rig.event()
    rig.step()
    part, name = request.param.split(".")
    call = getattr(getattr(rig, part), name)

    def stands_still(*arguments):
        if not done:
            done.append(True)
            now["seconds"] += 30
        return call(*arguments)

    monkeypatch.setattr(getattr(rig, part), name, stands_still)
    rig.event()
    rig.stand_still = lambda: rig.step(seconds=60)
    return rig


def test_a_sink_that_stood_still_and_was_expelled_writes_nothing_more(frozen):
    commit = frozen.broker.commit

    def refused(offsets):
        commit({})
        raise TransientError("UNKNOWN_MEMBER_ID")

    frozen.broker.commit = refused
    frozen.stand_still()
    written = len(frozen.store.files)
    assert written <= 2, "the file that it was at may be completed"
    for _ in range(12):
        frozen.event()
    for _ in range(5):
        frozen.step(seconds=60)
    assert not frozen.sink.flush()
    assert len(frozen.store.files) == written
    frozen.broker.revoke([("raw-events", 0), ("raw-events", 1)], lost=True)
    frozen.broker.commit = commit
    frozen.broker.assign([("raw-events", 0)])
    for _ in range(5):
        frozen.step(seconds=60)
    assert frozen.committed[0] == 14


def test_a_sink_that_stood_still_and_is_a_member_goes_on(frozen):
    frozen.stand_still()
    for _ in range(12):
        frozen.event()
    for _ in range(3):
        frozen.step(seconds=1)
    assert frozen.store.offsets() == [(0, offset) for offset in range(14)]
    assert frozen.committed[0] == 14


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_every_record_is_in_one_file_or_one_letter_before_its_offset_is_committed(make_rig, data):
    rig = make_rig(sink_flush_buffer_size=3).start()
    bad: set[tuple[int, int]] = set()
    owned = {0, 1}
    actions = [*("good", "good", "good", "bad", "step", "step", "old", "store", "answer", "dlq", "commit")]
    actions += ["revoke", "lose", "assign", "kill"]
    for action in data.draw(st.lists(st.sampled_from(actions), max_size=50)):
        partition = data.draw(st.integers(0, 1))
        where = ("raw-events", partition)
        if action == "good":
            rig.event(day=data.draw(st.integers(1, 2)), partition=partition)
        elif action == "bad":
            bad.add((partition, rig.broker.append("raw-events", BAD, partition=partition)))
        elif action == "step":
            rig.step()
        elif action == "old":
            rig.step(seconds=60)
        elif action == "store":
            rig.store.failing = not rig.store.failing
        elif action == "answer":
            rig.store.loses_answer = not rig.store.loses_answer
        elif action == "kill":
            rig.kill_and_restart(owned)
        elif action == "dlq":
            rig.publisher.confirming = not rig.publisher.confirming
        elif action == "commit":
            rig.broker.commits_fail = not rig.broker.commits_fail
        elif action in ("revoke", "lose") and partition in owned:
            owned.remove(partition)
            rig.broker.revoke([where], lost=action == "lose")
        elif action == "assign" and partition not in owned:
            owned.add(partition)
            rig.broker.assign([where])
        _assert_safe(rig, bad)
    rig.store.failing = rig.store.loses_answer = rig.broker.commits_fail = False
    rig.publisher.confirming = True
    rig.broker.assign([("raw-events", partition) for partition in {0, 1} - owned])
    for _ in range(4):
        rig.step(seconds=60)
    _assert_safe(rig, bad)
    assert {p: rig.committed[p] for p in (0, 1)} == {p: len(rig.broker.logs["raw-events", p]) for p in (0, 1)}
    assert len(rig.store.offsets()) == len(set(rig.store.offsets())), "a record was written twice"


def _assert_safe(rig, bad):
    letters = {
        (int(h["dlq.partition"]), int(h["dlq.offset"]))
        for h in (dict(headers) for _, _, headers in rig.publisher.records["dlq-raw-events"])
    }
    stored = set(rig.store.offsets())
    assert letters <= bad and not stored & bad
    for partition, end in rig.committed.items():
        missing = {(partition, offset) for offset in range(end)} - stored - letters
        assert not missing, f"committed to {end} without {sorted(missing)}"


def test_a_file_never_has_an_offset_of_a_recreated_topic_twice(rig, monkeypatch):
    for partition in (0, 1):
        rig.event(partition=partition)
    rig.step()
    (first,) = rig.broker.logs["raw-events", 0]
    with monkeypatch.context() as recreated:  # twice while the sink was busy: both begin in one poll
        recreated.setattr(rig.broker, "consume", lambda *_: Batch([first, first]))
        rig.step()
    rig.step(seconds=60)
    files = [pq.read_table(pa.BufferReader(data)).to_pydict() for data in rig.store.files.values()]
    origins = [list(zip(file["_partition"], file["_offset"], strict=True)) for file in files]
    assert sorted(origins) == [[(0, 0)], [(0, 0)], [(0, 0), (1, 0)]]
    assert rig.committed == {0: 1, 1: 1}
