"""The commands over Kafka, on a real broker."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from typer.testing import CliRunner, Result

from infra.embedded.services.kafka import Kafka
from pdp.cli import app
from platform_core.settings import settings
from platform_kafka.topics import SINK_GROUP, kafka_client_config
from tests.rigs.sink.rig import SinkRig

Run = Callable[..., Result]
Document = Callable[..., Any]

# Of the record, of the terminal and of nobody: what a value may hold that must not reach a terminal as it is.
HOSTILE = b"\x1b]0;title\x07\xff"


@pytest.fixture
def sink_rig(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SinkRig]:
    """Topics of its own for a test, to which the settings of this process point."""
    sink_rig = SinkRig(kafka, tmp_path)
    for name, value in sink_rig.env.items():
        monkeypatch.setenv(name, str(value))
    settings.cache_clear()
    sink_rig.create_topics()
    yield sink_rig
    settings.cache_clear()


def post(sink_rig: SinkRig, value: bytes | None, offset: int, error: str = "malformed_json", attempt: int = 1) -> None:
    facts = {"topic": sink_rig.topic, "partition": 0, "offset": offset, "timestamp": "", "error_class": error}
    facts |= {"error": "it is bad", "schema_id": 7, "attempt": attempt}
    headers = [("trace", b"t-1"), *((f"dlq.{name}", str(fact).encode()) for name, fact in facts.items())]
    producer = sink_rig.producer()
    producer.produce(f"dlq-{sink_rig.topic}", value, str(offset), headers=[*headers])
    assert producer.flush(30) == 0


def test_dead_letters_are_counted_shown_and_sent_back(sink_rig: SinkRig, pdp: Run, pdp_json: Document) -> None:
    framed = b"\x00\x00\x00\x00\x07" + b'{"event_id": 1}'
    post(sink_rig, framed, 1, "contract_violation")
    post(sink_rig, HOSTILE, 2)
    post(sink_rig, HOSTILE, 2)  # the same refusal, twice at-least-once
    post(sink_rig, b"poison", 3, attempt=3)

    (listed,) = pdp_json("dlq", "list")["domains"]
    assert (listed["dead_letters"], listed["open"]) == (3, 3)
    assert [(c["error_class"], c["dead_letters"]) for c in listed["classes"]] == [
        ("malformed_json", 2),
        ("contract_violation", 1),
    ]
    (only,) = pdp_json("dlq", "list", "events", "--error", "contract_violation", "--since", "1h")["domains"]
    assert only["dead_letters"] == 1
    assert pdp_json("dlq", "list", "--since", "2000-01-01")["domains"] == [listed]

    (newest,) = pdp_json("dlq", "peek", "events", "--limit", "1")["dead_letters"]
    assert (newest["offset"], newest["attempt"], newest["value"]["text"]) == (3, 3, "poison")
    (first,) = pdp_json("dlq", "peek", "events", "--offset", "0", "--limit", "1")["dead_letters"]
    assert first["value"] == {"bytes": len(framed), "schema_id": 7, "json": {"event_id": 1}}
    assert first["origin"]["offset"] == 1 and first["key"] == "1"
    shown = pdp("dlq", "peek", "events", "--error", "malformed_json")
    assert shown.exit_code == 0 and "trace=t-1" in shown.stdout and "it is bad" in shown.stdout
    assert "\x1b" not in shown.stdout and f"0x{HOSTILE.hex()}" in shown.stdout
    assert pdp("dlq", "peek", "events", "--offset", "1", "--raw").stdout_bytes == HOSTILE

    dry = pdp_json("dlq", "redrive", "events", "--dry-run")
    assert (dry["sent"], dry["parked"], dry["skipped"], dry["dry_run"]) == (2, 1, 1, True)
    sent = pdp("dlq", "redrive", "events", "--error", "contract_violation")
    assert sent.exit_code == 0 and f"`{sink_rig.topic}` again" in sent.stderr
    done = pdp_json("dlq", "redrive", "events")
    assert (done["sent"], done["parked"], done["skipped"]) == (1, 1, 2)
    (listed,) = pdp_json("dlq", "list", "events")["domains"]
    assert [(c["redriven"], c["parked"], c["open"]) for c in listed["classes"]] == [(1, 1, 0), (1, 0, 0)]
    table = next(line for line in pdp("dlq", "list").stdout.splitlines() if "contract_violation" in line)
    assert "1 (100%)" in table
    none = pdp("dlq", "redrive", "events", "--error", "malformed")
    assert "There are `contract_violation`, `malformed_json`" in none.stderr


def test_topics_and_records_are_shown(sink_rig: SinkRig, pdp: Run, pdp_json: Document) -> None:
    producer = sink_rig.producer()
    for number in range(12):
        producer.produce(
            sink_rig.topic, sink_rig.event(number), f"k{number}", partition=number % 3, headers=[("h", b"1")]
        )
    assert producer.flush(30) == 0
    listed = {row["topic"]: row for row in pdp_json("topics")["topics"]}
    raw = listed[sink_rig.topic]
    assert (raw["kind"], raw["partitions"], raw["records"], raw["retention_ms"]) == ("raw", 3, 12, 7 * 86_400_000)
    kinds = {name: row["kind"] for name, row in listed.items() if sink_rig.topic in name}
    assert sorted(kinds.values()) == ["dlq", "parked", "raw", "redriven"]
    assert listed["processed-events"]["kind"] == "platform"
    assert listed["schema-changes"]["retention_ms"] is None, "compacted"
    assert any(line.split()[:2] == [sink_rig.topic, "raw"] for line in pdp("topics").stdout.splitlines())

    newest = pdp_json("peek", sink_rig.topic, "--limit", "4")["records"]
    assert len(newest) == 4 and newest[0]["value"]["json"]["event_type"] == "search"
    (one,) = pdp_json("peek", sink_rig.topic, "--partition", "1", "--offset", "2", "--limit", "1")["records"]
    assert (one["key"], one["offset"], one["headers"]) == ("k7", 2, [{"name": "h", "value": "1"}])
    assert len(pdp_json("peek", sink_rig.topic, "--from-end", "2", "--limit", "100")["records"]) == 6
    assert f"{sink_rig.topic}[1]@2" in pdp("peek", sink_rig.topic, "--partition", "1", "--offset", "2").stdout
    wrong = pdp("peek", sink_rig.topic.replace("raw", "row"))
    assert wrong.exit_code == 2 and f"Did you mean `{sink_rig.topic}`?" in wrong.stderr
    beyond = pdp("peek", sink_rig.topic, "--partition", "1", "--offset", "4")
    assert beyond.exit_code == 2 and "from 0 to before 4" in beyond.stderr


def commit(sink_rig: SinkRig, offsets: dict[int, int]) -> None:
    wanted = [TopicPartition(sink_rig.topic, partition, offset) for partition, offset in offsets.items()]
    (done,) = sink_rig.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(SINK_GROUP, wanted)]).values()
    done.result()


def test_the_lag_is_by_partition_and_dated_by_its_oldest_record(
    sink_rig: SinkRig, pdp: Run, pdp_json: Document
) -> None:
    old = datetime.now(UTC) - timedelta(hours=3)
    producer = sink_rig.producer()
    for number in range(6):
        at = int(old.timestamp() * 1000) if number == 2 else 0
        producer.produce(sink_rig.topic, sink_rig.event(number), b"k", partition=0, timestamp=at)
    producer.produce(sink_rig.topic, sink_rig.event(9), b"k", partition=2)
    assert producer.flush(30) == 0
    commit(sink_rig, {0: 2, 2: 1})
    document = pdp_json("lag", "events")
    assert [(p["committed"], p["end"], p["lag"]) for p in document["partitions"]] == [
        (2, 6, 4),
        (None, 0, 0),
        (1, 1, 0),
    ]
    assert document["lag"] == 4
    assert abs(datetime.fromisoformat(document["oldest_at"]) - old) < timedelta(seconds=1)
    shown = pdp("lag").stdout
    assert "4 records behind, the oldest waits for 3 h 0 min" in shown and "no member" in shown
    where = TopicPartition(sink_rig.topic, 0, 4)
    sink_rig.admin.delete_records([where])[where].result()
    assert [(p["lag"], p["dropped"]) for p in pdp_json("lag")["partitions"]] == [(2, 2), (0, 0), (0, 0)]
    assert "retention has dropped 2 offsets" in pdp("lag").stderr


def test_offsets_go_back_and_forward_only_when_told(sink_rig: SinkRig, pdp: Run, pdp_json: Document) -> None:
    producer = sink_rig.producer()
    for number in range(10):
        at = datetime(2026, 11, 1 + number, tzinfo=UTC)
        producer.produce(
            sink_rig.topic, sink_rig.event(number), b"k", partition=1, timestamp=int(at.timestamp() * 1000)
        )
    assert producer.flush(30) == 0
    commit(sink_rig, {1: 6})
    one = ["offsets", "reset", "--topic", sink_rig.topic, "--partition", "1"]

    dry = pdp_json(*one, "--to-datetime", "2026-11-04", "--dry-run")
    assert [(p["before"], p["after"], p["again"], p["skipped"]) for p in dry["partitions"]] == [(6, 3, 3, 0)]
    assert sink_rig.committed()[1] == 6
    assert pdp(*one, "--to-datetime", "2026-11-04").exit_code == 0
    assert sink_rig.committed()[1] == 3
    forward = pdp(*one, "--to-offset", "8")
    assert forward.exit_code == 2 and "5 records would never be read" in forward.stderr
    assert sink_rig.committed()[1] == 3
    assert pdp(*one, "--to-offset", "8", "--allow-skip").exit_code == 0
    assert sink_rig.committed()[1] == 8
    assert pdp_json("offsets", "reset", "events", "--to-earliest")["partitions"][1]["after"] == 0
    assert sink_rig.committed() == {0: 0, 1: 0, 2: 0}

    where = TopicPartition(sink_rig.topic, 1, 5)
    sink_rig.admin.delete_records([where])[where].result()
    for offset, why in (("4", "retention has dropped 4"), ("11", "there is no 11 yet")):
        refused = pdp(*one, "--to-offset", offset)
        assert refused.exit_code == 2 and why in refused.stderr
    for wrong in (
        [],
        ["--all", "events"],
        ["events", "--to-earliest", "--to-offset", "1"],
        ["events", "--to-offset", "1"],
    ):
        assert pdp("offsets", "reset", *wrong).exit_code == 2


def test_offsets_stay_while_a_sink_runs(sink_rig: SinkRig, pdp: Run, pdp_json: Document) -> None:
    sink_rig.produce(30)
    config = kafka_client_config(sink_rig.settings)
    member = Consumer({**config, "group.id": SINK_GROUP, "client.id": "s3-sink", "auto.offset.reset": "earliest"})
    member.subscribe([sink_rig.topic])
    try:
        sink_rig.wait(lambda: member.poll(0.1) is not None)
        before = sink_rig.committed()
        refused = pdp("offsets", "reset", "events", "--to-earliest")
        assert refused.exit_code == 2 and "`s3-sink` on `127.0.0.1`" in refused.stderr
        assert sink_rig.committed() == before
        group = pdp_json("lag", "events")["group"]
        assert group["state"] == "stable" and [m["partitions"] for m in group["members"]] == [3]
        assert pdp_json("offsets", "reset", "--all", "--to-earliest", "--dry-run")["members"] == 1
    finally:
        member.close()


def test_wrong_credentials_are_told_from_a_broker_that_is_out(
    sink_rig: SinkRig, pdp: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    settings.cache_clear()
    refused = pdp("lag")
    assert refused.exit_code == 2 and "refuses the credentials of user `app`" in refused.stderr
    assert "hunter2" not in refused.output
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    monkeypatch.setattr("platform_kafka.reader.CONNECT_SECONDS", 1.0)
    settings.cache_clear()
    out = pdp("dlq", "list")
    assert out.exit_code == 2 and f"Kafka at `{address}` does not answer" in out.stderr
    # One sentence, which the terminal wraps, and no line of the client's own log.
    assert out.stderr.startswith("error: ") and out.stderr.count("/bootstrap") == 1
    assert len(out.stderr.splitlines()) <= 2


def test_a_domain_that_does_not_exist_is_answered_before_kafka_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    settings.cache_clear()
    result = CliRunner().invoke(app, ["dlq", "redrive", "event", "--dry-run"])
    assert result.exit_code == 2 and "Did you mean `events`?" in result.stderr
    assert json.dumps(result.stdout) == '""'


def test_topics_and_offsets_of_a_removed_domain_are_listed(sink_rig: SinkRig, pdp_json: Document) -> None:
    sink_rig.produce(5)
    sink_rig.run("--until-caught-up")
    removed, sink_rig.topic = sink_rig.topic, f"{sink_rig.topic}-of-another"
    text = sink_rig.domains_file.read_text()
    sink_rig.domains_file.write_text(text.replace(removed, sink_rig.topic))
    found = {(each["kind"], each["name"]): each["holds"] for each in pdp_json("domains", "--leftovers")["leftovers"]}
    assert found["topic", removed] == "5 records"
    assert ("topic", f"dlq-{removed}") in found and ("topic", f"dlq-{removed}-parked") in found
    assert found["group offsets", f"{SINK_GROUP}, {removed}"].endswith("Kafka partitions")
    sink_rig.domains_file.write_text(text)
    kept = {each["name"] for each in pdp_json("domains", "--leftovers")["leftovers"]}
    assert not kept & {removed, f"dlq-{removed}", f"{SINK_GROUP}, {removed}"}
