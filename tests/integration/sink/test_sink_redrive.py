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

from platform_core.domain.catalog import load_catalog
from platform_core.errors import PermanentError, TransientError
from platform_core.settings import REPOSITORY
from platform_core.topics import kafka_client_config
from sink import redrive_lock
from sink.dead_letter_summary import summarise
from sink.operator_kafka import OperatorKafka
from sink.redrive import Selection, redrive


@pytest.fixture
def domain(bench):
    bench.create_topics()
    return load_catalog(bench.domains_file)["events"]


@pytest.fixture
def send_back(bench, domain):
    return partial(redrive, bench.settings, domain, operator="test", now=lambda: datetime.now(UTC))


def post(bench, letters: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]]) -> None:
    """Put letters into the dead-letter topic, byte for byte."""
    producer = Producer({**kafka_client_config(bench.settings), "acks": "all", "message.max.bytes": 5_000_000})
    for key, value, headers in letters:
        producer.produce(f"dlq-{bench.topic}", value, key, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


def origin(bench, offset: int, attempt: int = 1, error: str = "malformed_json") -> list[tuple[str, bytes | None]]:
    facts = {"topic": bench.topic, "partition": 1, "offset": offset, "timestamp": "2026-11-20T00:00:00+00:00"}
    facts |= {"error_class": error, "error": "bad", "schema_id": "", "attempt": attempt}
    return [(f"dlq.{name}", str(value).encode()) for name, value in facts.items()]


def test_letters_go_back_byte_for_byte_once(bench, domain, send_back):
    own = [("trace", b"\xff\x00"), ("none", None), ("trace", b"again")]
    letters = [
        (b"k\xff1", b"\x00\x00\x00\x00\x07{broken \xff", [*own, *origin(bench, 10)]),
        (None, b"no key", origin(bench, 11)),
        (b"3", None, origin(bench, 12)),
        (b"4", b"", origin(bench, 13)),
        (b"5", b"from a producer", origin(bench, -1)),
        (b"6", b"from a producer", origin(bench, -1)),
        (b"7", b"nobody knows", []),
    ]
    post(bench, [*letters, letters[0]])  # a killed sink has written the first one twice

    dry = send_back(dry_run=True)
    assert (dry.sent, dry.skipped) == (7, 1) and not bench.read(bench.topic)
    first = send_back()
    assert (first.sent, first.parked, first.skipped, first.unreadable) == (7, 0, 1, 0)
    arrived = {(m.key(), m.value()): m.headers() for m in bench.read(bench.topic)}
    assert {(key, value): headers for key, value, headers in letters[:-1]} | {
        (b"7", b"nobody knows"): [("dlq.attempt", b"1")]
    } == arrived

    again = send_back()
    assert (again.sent, again.skipped) == (0, 8) and len(bench.read(bench.topic)) == 7
    with OperatorKafka(bench.settings) as kafka:
        counts = {c.error_class: (c.letters, c.redriven, c.open) for c in summarise(kafka, domain)}
    assert counts == {"malformed_json": (6, 6, 0), "unknown": (1, 1, 0)}


def test_only_what_is_selected_is_sent(bench, send_back):
    post(bench, [(b"1", b"a", origin(bench, 1)), (b"2", b"b", origin(bench, 2, error="too_large"))])
    between = bench.read(f"dlq-{bench.topic}")[-1].timestamp()[1] / 1000 + 0.001
    bench.wait(lambda: datetime.now(UTC).timestamp() > between)
    post(bench, [(b"3", b"c", origin(bench, 3)), (b"4", b"d", origin(bench, 4, attempt=3))])
    since = datetime.fromtimestamp(between, UTC)
    assert send_back(Selection(error="too_large")).sent == 1
    assert send_back(Selection(since=since, limit=1)).sent == 1
    assert [m.value() for m in bench.read(bench.topic)].count(b"b") == 1
    assert {m.value() for m in bench.read(bench.topic)} == {b"b", b"c"}
    last = send_back()
    assert (last.sent, last.parked, last.skipped) == (1, 1, 2)
    (parked,) = bench.read(f"dlq-{bench.topic}-parked")
    assert (parked.key(), parked.value(), parked.headers()) == (b"4", b"d", origin(bench, 4, attempt=3))
    assert send_back().skipped == 4
    assert send_back(max_attempts=10).sent == 1, "a larger limit sends what was parked"
    assert send_back(max_attempts=10).sent == 0


def test_a_value_that_was_too_large_for_a_letter_comes_from_the_raw_topic(bench, send_back):
    producer = bench.producer()
    for value in (b"gone", b"large"):
        producer.produce(bench.topic, value, b"k", partition=1)
    assert producer.flush(30) == 0
    for offset, size in ((0, 4), (1, 5)):
        post(bench, [(b"k", None, [*origin(bench, offset), ("dlq.value_omitted_bytes", str(size).encode())])])
    where = TopicPartition(bench.topic, 1, 1)
    bench.admin.delete_records([where])[where].result()
    result = send_back()
    assert (result.sent, result.unreadable) == (1, 1)
    (failure,) = result.failures
    assert failure.origin == f"{bench.topic}[1]@0" and "retention has dropped" in failure.reason
    sent = [m for m in bench.read(bench.topic) if m.headers()]
    assert [(m.value(), m.key()) for m in sent] == [(b"large", b"k")]
    assert "dlq.value_omitted_bytes" not in dict(sent[0].headers())


def test_kill_9_in_the_middle_loses_nothing_and_doubles_what_was_in_flight(bench, send_back):
    count, window = 1_000, 5
    post(bench, [(str(n).encode(), b"value %d" % n, origin(bench, n)) for n in range(count)])
    code = (
        "from datetime import UTC, datetime; from platform_core.domain.catalog import load_catalog;"
        " from platform_core.settings import settings; from sink.redrive import redrive;"
        " c = settings(); d = load_catalog(c.domains_file)['events'];"
        f" redrive(c, d, operator='test', now=lambda: datetime.now(UTC), window={window})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, env=bench.env, stderr=subprocess.DEVNULL)
    bench.wait(lambda: sum(bench.ends().values()) >= 60 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sent = sum(bench.ends().values())
    assert 60 <= sent < count, "the kill came too late to prove anything"
    rest = send_back()
    values = Counter(m.value() for m in bench.read(bench.topic))
    assert set(values) == {b"value %d" % n for n in range(count)}
    assert sum(values.values()) - count <= window
    assert rest.sent + rest.skipped == count and rest.skipped >= sent - window
    assert send_back().sent == 0


def test_two_at_once_are_refused(bench, send_back, monkeypatch):
    post(bench, [(b"1", b"a", origin(bench, 1))])
    monkeypatch.setattr(redrive_lock, "WAIT_SECONDS", 1.0)
    with redrive_lock.exclusive(kafka_client_config(bench.settings), f"dlq-{bench.topic}-redriven") as keep:
        with pytest.raises(TransientError, match="Another redrive works"):
            send_back()
        keep()
    assert not bench.read(bench.topic)


def test_a_topic_that_is_missing_is_named(bench, send_back):
    (done,) = bench.admin.delete_topics([f"dlq-{bench.topic}-redriven"]).values()
    done.result()
    bench.wait(lambda: f"dlq-{bench.topic}-redriven" not in bench.admin.list_topics(timeout=10).topics)
    with pytest.raises(PermanentError, match="python -m producers provision"):
        send_back()


def test_what_was_mended_arrives_and_what_stays_bad_is_parked(bench, send_back):
    """The sink refuses both, a redrive brings the mended one to Bronze and the poison comes back until it is parked."""
    good = json.loads(bench.event(1)) | {"event_id": "large", "properties": {"text": "x" * 5_000}}
    producer = bench.producer()
    producer.produce(bench.topic, json.dumps(good).encode(), b"1", headers=[("trace", b"t")])
    producer.produce(bench.topic, b"{broken", b"2")
    assert producer.flush(30) == 0
    bench.run("--until-caught-up", SINK_MAX_RECORD_BYTES=2_048, SINK_MAX_REFUSED_RATIO=1)
    assert not bench.rows()
    fates = []
    for _ in range(4):
        result = send_back()
        fates.append((result.sent, result.parked, result.skipped))
        if result.sent:
            bench.run("--until-caught-up", SINK_MAX_REFUSED_RATIO=1)
    assert fates == [(2, 0, 0), (1, 0, 2), (0, 1, 3), (0, 0, 4)]
    assert [row["event_id"] for row in bench.rows()] == ["large"]
    letters = [m for m in bench.read(f"dlq-{bench.topic}") if m.key() == b"2"]
    assert [dict(m.headers())["dlq.attempt"] for m in letters] == [b"1", b"2", b"3"]
    assert {m.value() for m in letters} == {b"{broken"}
    (parked,) = bench.read(f"dlq-{bench.topic}-parked")
    assert dict(parked.headers())["dlq.attempt"] == b"3"
