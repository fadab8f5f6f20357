"""Dead letters sent back, on a real broker and with the real sink."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial

import pytest
from confluent_kafka import Producer, TopicPartition

from pdp.actions.dead_letters import redrive_lock
from pdp.actions.dead_letters.redrive import Selection, redrive
from pdp.actions.dead_letters.summary import summarise
from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError, TransientError
from platform_core.settings import REPOSITORY
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.reader import OperatorKafka
from platform_kafka.topics import kafka_client_config


@pytest.fixture
def domain(sink_rig):
    sink_rig.create_topics()
    return load_catalog(sink_rig.domains_file)["events"]


@pytest.fixture
def send_back(sink_rig, domain):
    return partial(redrive, sink_rig.settings, domain, operator="test", now=lambda: datetime.now(UTC))


def post(sink_rig, letters: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]]) -> None:
    """Put letters into the dead-letter topic, byte for byte."""
    producer = Producer({**kafka_client_config(sink_rig.settings), **DELIVERY_CONFIG, "message.max.bytes": 5_000_000})
    for key, value, headers in letters:
        producer.produce(f"dlq-{sink_rig.topic}", value, key, headers=[*headers])
        producer.poll(0)
    assert producer.flush(30) == 0


def origin(sink_rig, offset: int, attempt: int = 1, error: str = "malformed_json") -> list[tuple[str, bytes | None]]:
    facts = {"topic": sink_rig.topic, "partition": 1, "offset": offset, "timestamp": "2026-11-20T00:00:00+00:00"}
    facts |= {"error_class": error, "error": "bad", "schema_id": "", "attempt": attempt}
    return [(f"dlq.{name}", str(value).encode()) for name, value in facts.items()]


def test_letters_go_back_byte_for_byte_once(sink_rig, domain, send_back):
    own = [("trace", b"\xff\x00"), ("none", None), ("trace", b"again")]
    letters = [
        (b"k\xff1", b"\x00\x00\x00\x00\x07{broken \xff", [*own, *origin(sink_rig, 10)]),
        (None, b"no key", origin(sink_rig, 11)),
        (b"3", None, origin(sink_rig, 12)),
        (b"4", b"", origin(sink_rig, 13)),
        (b"5", b"from a producer", origin(sink_rig, -1)),
        (b"6", b"from a producer", origin(sink_rig, -1)),
        (b"7", b"nobody knows", []),
    ]
    post(sink_rig, [*letters, letters[0]])  # a killed sink has written the first one twice

    dry = send_back(dry_run=True)
    assert (dry.sent, dry.skipped) == (7, 1) and not sink_rig.read(sink_rig.topic)
    first = send_back()
    assert (first.sent, first.parked, first.skipped, first.unreadable) == (7, 0, 1, 0)
    arrived = {(m.key(), m.value()): m.headers() for m in sink_rig.read(sink_rig.topic)}
    assert {(key, value): headers for key, value, headers in letters[:-1]} | {
        (b"7", b"nobody knows"): [("dlq.attempt", b"1")]
    } == arrived

    again = send_back()
    assert (again.sent, again.skipped) == (0, 8) and len(sink_rig.read(sink_rig.topic)) == 7
    with OperatorKafka(sink_rig.settings) as kafka:
        counts = {c.error_class: (c.dead_letters, c.redriven, c.open) for c in summarise(kafka, domain)}
    assert counts == {"malformed_json": (6, 6, 0), "unknown": (1, 1, 0)}


def test_only_what_is_selected_is_sent(sink_rig, send_back):
    post(sink_rig, [(b"1", b"a", origin(sink_rig, 1)), (b"2", b"b", origin(sink_rig, 2, error="too_large"))])
    between = sink_rig.read(f"dlq-{sink_rig.topic}")[-1].timestamp()[1] / 1000 + 0.001
    sink_rig.wait(lambda: datetime.now(UTC).timestamp() > between)
    post(sink_rig, [(b"3", b"c", origin(sink_rig, 3)), (b"4", b"d", origin(sink_rig, 4, attempt=3))])
    since = datetime.fromtimestamp(between, UTC)
    assert send_back(Selection(error="too_large")).sent == 1
    assert send_back(Selection(since=since, limit=1)).sent == 1
    assert [m.value() for m in sink_rig.read(sink_rig.topic)].count(b"b") == 1
    assert {m.value() for m in sink_rig.read(sink_rig.topic)} == {b"b", b"c"}
    last = send_back()
    assert (last.sent, last.parked, last.skipped) == (1, 1, 2)
    (parked,) = sink_rig.read(f"dlq-{sink_rig.topic}-parked")
    assert (parked.key(), parked.value(), parked.headers()) == (b"4", b"d", origin(sink_rig, 4, attempt=3))
    assert send_back().skipped == 4
    assert send_back(max_attempts=10).sent == 1, "a larger limit sends what was parked"
    assert send_back(max_attempts=10).sent == 0


def test_a_value_that_was_too_large_for_a_letter_comes_from_the_raw_topic(sink_rig, send_back):
    producer = sink_rig.producer()
    for value in (b"gone", b"large"):
        producer.produce(sink_rig.topic, value, b"k", partition=1)
    assert producer.flush(30) == 0
    for offset, size in ((0, 4), (1, 5)):
        post(sink_rig, [(b"k", None, [*origin(sink_rig, offset), ("dlq.value_omitted_bytes", str(size).encode())])])
    where = TopicPartition(sink_rig.topic, 1, 1)
    sink_rig.admin.delete_records([where])[where].result()
    result = send_back()
    assert (result.sent, result.unreadable) == (1, 1)
    (failure,) = result.failures
    assert failure.origin == f"{sink_rig.topic}[1]@0" and "retention has dropped" in failure.reason
    sent = [m for m in sink_rig.read(sink_rig.topic) if m.headers()]
    assert [(m.value(), m.key()) for m in sent] == [(b"large", b"k")]
    assert "dlq.value_omitted_bytes" not in dict(sent[0].headers())


def test_kill_9_in_the_middle_loses_nothing_and_doubles_what_was_in_flight(sink_rig, send_back):
    count, window = 1_000, 5
    post(sink_rig, [(str(n).encode(), b"value %d" % n, origin(sink_rig, n)) for n in range(count)])
    code = (
        "from datetime import UTC, datetime; from platform_core.domain.catalog import load_catalog;"
        " from platform_core.settings import settings; from pdp.actions.dead_letters.redrive import redrive;"
        " c = settings(); d = load_catalog(c.domains_file)['events'];"
        f" redrive(c, d, operator='test', now=lambda: datetime.now(UTC), batch_size={window})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=sink_rig.env, stderr=subprocess.DEVNULL
    )
    sink_rig.wait(lambda: sum(sink_rig.ends().values()) >= 60 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sent = sum(sink_rig.ends().values())
    assert 60 <= sent < count, "the kill came too late to prove anything"
    rest = send_back()
    values = Counter(m.value() for m in sink_rig.read(sink_rig.topic))
    assert set(values) == {b"value %d" % n for n in range(count)}
    assert sum(values.values()) - count <= window
    assert rest.sent + rest.skipped == count and rest.skipped >= sent - window
    assert send_back().sent == 0


def test_two_at_once_are_refused(sink_rig, send_back, monkeypatch):
    post(sink_rig, [(b"1", b"a", origin(sink_rig, 1))])
    monkeypatch.setattr(redrive_lock, "WAIT_SECONDS", 1.0)
    with redrive_lock.exclusive(kafka_client_config(sink_rig.settings), f"dlq-{sink_rig.topic}-redriven") as keep:
        with pytest.raises(TransientError, match="Another redrive works"):
            send_back()
        keep()
    assert not sink_rig.read(sink_rig.topic)


def test_a_topic_that_is_missing_is_named(sink_rig, send_back):
    (done,) = sink_rig.admin.delete_topics([f"dlq-{sink_rig.topic}-redriven"]).values()
    done.result()
    sink_rig.wait(lambda: f"dlq-{sink_rig.topic}-redriven" not in sink_rig.admin.list_topics(timeout=30).topics)
    with pytest.raises(PermanentError, match="python -m producers provision"):
        send_back()


def test_what_was_mended_arrives_and_what_stays_bad_is_parked(sink_rig, send_back):
    """The sink refuses both, a redrive brings the mended one to Bronze and the poison comes back until it is parked."""
    good = json.loads(sink_rig.event(1)) | {"event_id": "large", "properties": {"text": "x" * 5_000}}
    producer = sink_rig.producer()
    producer.produce(sink_rig.topic, json.dumps(good).encode(), b"1", headers=[("trace", b"t")])
    producer.produce(sink_rig.topic, b"{broken", b"2")
    assert producer.flush(30) == 0
    sink_rig.run("--until-caught-up", SINK_MAX_RECORD_BYTES=2_048, SINK_MAX_REFUSED_RATIO=1)
    assert not sink_rig.rows()
    fates = []
    for _ in range(4):
        result = send_back()
        fates.append((result.sent, result.parked, result.skipped))
        if result.sent:
            sink_rig.run("--until-caught-up", SINK_MAX_REFUSED_RATIO=1)
    assert fates == [(2, 0, 0), (1, 0, 2), (0, 1, 3), (0, 0, 4)]
    assert [row["event_id"] for row in sink_rig.rows()] == ["large"]
    letters = [m for m in sink_rig.read(f"dlq-{sink_rig.topic}") if m.key() == b"2"]
    assert [dict(m.headers())["dlq.attempt"] for m in letters] == [b"1", b"2", b"3"]
    assert {m.value() for m in letters} == {b"{broken"}
    (parked,) = sink_rig.read(f"dlq-{sink_rig.topic}-parked")
    assert dict(parked.headers())["dlq.attempt"] == b"3"
