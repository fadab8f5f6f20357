"""A topic that does not exist, or may not be used, stops no other; what needs it waits and goes on by itself."""

from __future__ import annotations

import json

import pytest

from platform_core.errors import PermanentError
from sink.consuming.unusable_topics import RETRY_SECONDS
from sink.watching.health import sink_health
from tests.rigs.sink.loop import BAD
from tests.rigs.sink.samples import ORDER, encoded

DLQ = "dlq-raw-events"


def missing_topics(rig, at_once):
    """What the client says of a topic that does not exist: later, or from its cache at once."""
    return rig.publisher.known_missing if at_once else rig.publisher.missing


def kinds_of_alerts(rig):
    return [
        (json.loads(value)["kind"], json.loads(value)["where"])
        for _, value, _ in rig.publisher.records["pipeline-alerts"]
    ]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_missing_dead_letter_topic_pauses_its_own_topic_alone_until_it_is_created(rig, at_once):
    missing_topics(rig, at_once).add(DLQ)
    bad = [rig.bad(), rig.bad()]
    rig.event()
    rig.step()
    rig.step()
    later = [rig.event(), rig.event()]
    rig.broker.append("raw-orders", encoded(ORDER))
    for _ in range(3):
        rig.step(seconds=60)
    assert rig.broker.group["raw-orders", 0] == 1, "the other topic goes on"
    assert rig.committed.get(0, 0) == bad[0], "no dead letter, no commit beyond its record"
    assert rig.broker.paused_topics == {"raw-events"}
    health = sink_health(rig.sink, rig.clock.seconds())
    assert (health.status, health.facts["unusable_topics"]) == ("degraded", [DLQ])
    assert "`dlq-raw-events`" in health.reason and "nothing is lost" in health.reason
    assert kinds_of_alerts(rig) == [("TOPIC_UNUSABLE", f"topic {DLQ}")]
    assert not rig.sink.flush(), "what is not committed is said"

    missing_topics(rig, at_once).clear()
    for _ in range(4):
        rig.step(seconds=RETRY_SECONDS)
    assert len(rig.publisher.records[DLQ]) == 2 and not rig.broker.paused_topics
    rig.step(seconds=60)
    assert rig.committed[0] == later[-1] + 1
    assert sink_health(rig.sink, rig.clock.seconds()).status == "ok"


def test_a_run_until_the_end_reads_the_others_and_names_the_topic(make_rig):
    rig = make_rig()
    rig.publisher.missing.add(DLQ)
    rig.bad()
    rig.broker.append("raw-orders", encoded(ORDER))
    with pytest.raises(PermanentError, match=DLQ):
        rig.sink.run(lambda: False, until={("raw-events", 0): 1, ("raw-orders", 0): 1})
    assert rig.broker.group["raw-orders", 0] == 1 and rig.committed.get(0, 0) == 0


@pytest.mark.parametrize("at_once", [False, True])
def test_a_missing_ledger_topic_delays_the_announcements_and_nothing_else(rig, at_once):
    missing_topics(rig, at_once).add("processed-events")
    for _ in range(7):
        rig.event()
    for _ in range(3):
        rig.step(seconds=60)
    assert rig.committed[0] == 7 and not rig.ledger()
    assert rig.store.journal, "a successor would announce them"
    assert kinds_of_alerts(rig) == [("TOPIC_UNUSABLE", "topic processed-events")]
    missing_topics(rig, at_once).clear()
    rig.step(seconds=RETRY_SECONDS)
    rig.step()
    rig.step()
    assert sorted(record["rows"] for record in rig.ledger()) == [2, 5]
    assert not rig.store.journal
    assert sink_health(rig.sink, rig.clock.seconds()).status == "ok"


def test_a_topic_that_cannot_be_read_stops_no_other_and_is_read_when_it_is_there(rig):
    rig.event()
    rig.step()
    rig.broker.unusable["raw-events"] = "There is no `raw-events`."
    rig.broker.append("raw-orders", encoded(ORDER))
    for _ in range(3):
        rig.step(seconds=60)
    assert rig.broker.group["raw-orders", 0] == 1
    assert rig.committed.get(0, 0) == 0, "what was read of the topic is written, and cannot be committed"
    assert rig.store.offsets() == [(0, 0), (0, 0)]
    assert kinds_of_alerts(rig) == [("TOPIC_UNUSABLE", "topic raw-events")]
    assert [r["domain"] for r in rig.ledger()] == ["events", "orders"]
    rig.broker.unusable.clear()
    rig.broker.revoke([("raw-events", 0), ("raw-events", 1), ("raw-orders", 0)])
    rig.broker.assign([("raw-events", 0), ("raw-events", 1), ("raw-orders", 0)])
    rig.step()
    assert rig.committed[0] == 1
    assert sink_health(rig.sink, rig.clock.seconds()).status == "ok"


@pytest.mark.parametrize("at_once", [False, True])
def test_without_a_topic_of_alerts_the_sink_goes_on(rig, at_once):
    missing_topics(rig, at_once).update({DLQ, "pipeline-alerts"})
    rig.broker.append("raw-events", BAD)
    rig.broker.append("raw-orders", encoded(ORDER))
    for _ in range(3):
        rig.step(seconds=60)
    assert rig.broker.group["raw-orders", 0] == 1 and rig.committed.get(0, 0) == 0
    assert sink_health(rig.sink, rig.clock.seconds()).facts["unusable_topics"] == [DLQ]
