from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import yaml
from confluent_kafka.schema_registry import Schema

from platform_core.lake.mount import MARKER
from platform_core.settings import REPOSITORY
from platform_kafka.registry import registry_client
from tests.rigs.settings_of import settings_of
from tests.rigs.sink.rig import PARTITIONS, endpoint, metric


def test_kill_9_in_the_middle_loses_nothing(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(20_000)
    for _ in range(2):
        before = len(sink_rig.files())
        process = sink_rig.start(SINK_FLUSH_BUFFER_SIZE=20)
        sink_rig.wait(lambda before=before: len(sink_rig.files()) > before + 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(set(sink_rig.offsets())) < 20_000, "the kill came too late to prove anything"
    sink_rig.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=1_000)
    assert Counter(sink_rig.offsets()) == Counter(sink_rig.produced()), "what a killed sink had put was written again"
    assert sink_rig.committed() == sink_rig.ends()
    assert {record["file"] for record in sink_rig.ledger()} == {
        str(p.relative_to(sink_rig.lake)) for p in sink_rig.files()
    }
    # A kill in the middle of a PUT leaves a hidden file, which nobody lists.
    assert not list((sink_rig.lake / "pipeline-metadata" / "sink_journal").glob("[!.]*"))


def test_one_record_and_then_silence_is_in_bronze_by_its_age(sink_rig):
    # That the interval is kept to the second is in tests/unit/sink/test_loop.py, on a clock of its own.
    sink_rig.create_topics()
    process = sink_rig.start(METRICS_PORT=0, SINK_FLUSH_INTERVAL_SECONDS=3)
    sink_rig.wait(lambda: "partitions_assigned" in process.log.read_text())
    sink_rig.produce(1)
    sink_rig.wait(sink_rig.files)
    sink_rig.wait(lambda: metric(process, 'pdp_sink_flushes_total{reason="age"}') == 1)
    sink_rig.stop(process)


def test_the_endpoint_says_how_the_sink_is_and_flushes_on_request(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(5)
    process = sink_rig.start(METRICS_PORT=0)
    sink_rig.wait(lambda: "probe_server_listens url=" in process.log.read_text())
    url = endpoint(process)
    with urlopen(f"{url}/healthz", timeout=30) as answer:
        assert json.load(answer)["status"] == "ok"

    sink_rig.wait(lambda: metric(process, "pdp_sink_buffered_records") == 5)
    assert metric(process, "pdp_sink_records_total") == 5 and not sink_rig.files()
    with urlopen(Request(f"{url}/flush", method="POST"), timeout=30) as answer:
        assert json.load(answer)["drained"] is True
    assert len(sink_rig.offsets()) == 5
    # A partition without records is committed when Kafka has said that it has none, before the flush or after it.
    sink_rig.wait(lambda: sink_rig.committed() == sink_rig.ends())
    assert metric(process, "pdp_sink_flushes_total") == len(sink_rig.files())
    sink_rig.stop(process)


def test_records_of_old_and_new_contracts_share_their_files(sink_rig):
    sink_rig.create_topics()
    producer = sink_rig.producer()
    for number in range(60):
        event = json.loads(sink_rig.event(number)) | ({"app_version": "9"} if number % 2 else {})
        body = json.dumps(event).encode()
        value = (b"\0\0\0\0" + bytes([1 + number % 2]) + body) if number % 3 else body
        producer.produce(sink_rig.topic, value, str(number), partition=0)
    assert producer.flush(60) == 0
    sink_rig.run("--until-caught-up")
    assert len(sink_rig.files()) == 5, "one file for each of the five dates, whatever the versions"
    assert Counter(bool(row["_extra"]) for row in sink_rig.rows()) == {True: 30, False: 30}
    assert {row["_schema_id"] for row in sink_rig.rows()} == {None, 1, 2}


def test_sigterm_leaves_nothing_to_read_again(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(20_000)
    process = sink_rig.start(SINK_FLUSH_BUFFER_SIZE=50)
    sink_rig.wait(lambda: len(sink_rig.files()) > 20)
    sink_rig.stop(process)
    done = sink_rig.offsets()
    assert len(done) < 20_000, "the signal came too late to prove anything"
    assert sum(offset for offset in sink_rig.committed().values() if offset > 0) == len(done)
    sink_rig.run("--until-caught-up")
    assert Counter(sink_rig.offsets()) == Counter(sink_rig.produced())
    records = sink_rig.ledger()
    assert sum(record["rows"] for record in records) == 20_000
    assert {record["file"] for record in records} == {str(path.relative_to(sink_rig.lake)) for path in sink_rig.files()}


def test_two_sinks_share_the_work_and_lose_nothing(sink_rig, tmp_path):
    sink_rig.create_topics()
    lakes = [tmp_path / "lake-a", tmp_path / "lake-b"]  # tell whose file is whose
    for lake in lakes:
        lake.mkdir()
        (lake / MARKER).touch()  # an empty folder is no lake for a sink that has committed offsets
    options = {"SINK_FLUSH_BUFFER_SIZE": 100, "SINK_FLUSH_INTERVAL_SECONDS": 1}
    stop = threading.Event()

    def keep_producing() -> None:
        first = 0
        while not stop.is_set():
            sink_rig.produce(200, first)
            first += 200
            time.sleep(0.1)

    thread = threading.Thread(target=keep_producing)
    thread.start()
    try:
        first = sink_rig.start(LAKE_URI=lakes[0], **options)
        sink_rig.wait(lambda: sink_rig.files(lakes[0]))
        second = sink_rig.start(LAKE_URI=lakes[1], **options)
        sink_rig.wait(lambda: sink_rig.files(lakes[1]))
        count = len(sink_rig.files(lakes[0]))
        sink_rig.wait(lambda: len(sink_rig.files(lakes[0])) > count)
        sink_rig.stop(first)
        time.sleep(1)
    finally:
        stop.set()
        thread.join()
    ends = sink_rig.ends()
    sink_rig.wait(lambda: sink_rig.committed() == ends)
    sink_rig.stop(second)
    seen = Counter(sink_rig.offsets(lakes[0])) + Counter(sink_rig.offsets(lakes[1]))
    assert set(seen) == sink_rig.produced()
    assert set(seen.values()) == {1}, "a rebalance that everybody survives reads nothing twice"


def test_bad_records_go_to_the_dlq_and_the_good_ones_arrive(sink_rig):
    sink_rig.create_topics()
    good = json.loads(sink_rig.event(1))

    def changed(**fields: object) -> bytes:
        return json.dumps({k: v for k, v in {**good, **fields}.items() if v is not ...}).encode()

    unknown = changed(event_id="unknown-field", app_version="9")
    bad = [
        (b"{broken", b"1", "malformed_json"),
        (changed(user_id="one"), b"2", "contract_violation"),
        (changed(), None, "missing_key"),
        (changed(session_id=...), b"4", "contract_violation"),
        (changed(event_timestamp="1970-01-01T00:00:00Z"), b"5", "timestamp_out_of_range"),
        (changed(event_timestamp="2090-01-01T00:00:00Z"), b"6", "timestamp_out_of_range"),
        (b"", b"7", "empty_value"),
        (None, b"8", "empty_value"),
        (changed(city=os.urandom(1_000_000).hex()), b"\xff", "too_large"),
        (b"\x00\x00", b"10", "invalid_wire_format"),
        (changed(city="@").replace(b"@", b"\xff"), b"11", "invalid_utf8"),
    ]
    producer = sink_rig.producer()
    for number, (value, key, _) in enumerate([*bad, (unknown, b"12", None)]):
        producer.produce(sink_rig.topic, sink_rig.event(number), str(number), partition=0)
        producer.produce(sink_rig.topic, value, key, partition=0, headers=[("trace", b"t"), ("none", None)])
    assert producer.flush(60) == 0

    sink_rig.run("--until-caught-up")

    rows = sink_rig.rows()
    assert sorted(row["event_id"] for row in rows) == sorted([*map(str, range(len(bad) + 1)), "unknown-field"])
    assert [row["_extra"] for row in rows if row["_extra"]] == ['{"app_version":"9"}']
    letters = sink_rig.read(f"dlq-{sink_rig.topic}")
    assert [(m.value(), m.key()) for m in letters] == [(value, key) for value, key, _ in bad]
    for number, (letter, (_, _, reason)) in enumerate(zip(letters, bad, strict=True)):
        headers = dict(letter.headers())
        assert headers["dlq.error_class"].decode() == reason
        assert (headers["dlq.topic"].decode(), headers["dlq.partition"]) == (sink_rig.topic, b"0")
        assert int(headers["dlq.offset"]) == 2 * number + 1
        assert headers["dlq.attempt"] == b"1" and headers["dlq.error"] and headers["dlq.timestamp"]
        assert (headers["trace"], headers["none"]) == (b"t", None)
    assert sink_rig.committed() == sink_rig.ends()


def test_an_outage_of_the_store_waits_and_sends_nothing_to_the_dlq(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(300)
    sink_rig.lake.mkdir()
    (sink_rig.lake / "bronze").write_text("a file where the folder should be")
    process = sink_rig.start(SINK_FLUSH_INTERVAL_SECONDS=0.5)
    sink_rig.wait(lambda: process.log.read_text().count("store_unavailable") >= 3)
    assert all(offset < 1 for offset in sink_rig.committed().values())
    (sink_rig.lake / "bronze").unlink()
    sink_rig.wait(lambda: sink_rig.committed() == sink_rig.ends())
    sink_rig.stop(process)
    assert Counter(sink_rig.offsets()) == Counter(sink_rig.produced())
    assert not sink_rig.read(f"dlq-{sink_rig.topic}")


def test_files_hold_exactly_the_size_that_was_set_and_the_rest_comes_by_age(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(60)  # twelve of each of five dates
    process = sink_rig.start(SINK_FLUSH_BUFFER_SIZE=10, SINK_FLUSH_INTERVAL_SECONDS=2)
    sink_rig.wait(lambda: len(sink_rig.offsets()) == 60)
    sink_rig.stop(process)
    assert Counter(pq.read_metadata(path).num_rows for path in sink_rig.files()) == {10: 5, 2: 5}


def test_wrong_credentials_end_the_start_with_one_sentence(sink_rig):
    sink_rig.create_topics()
    process = sink_rig.start(KAFKA_PASSWORD="wrong-password")
    assert process.wait(120) == os.EX_CONFIG
    log = process.log.read_text()
    assert "refuses the credentials of user `app`" in log and "wrong-password" not in log


def test_the_sink_goes_on_without_dead_letters_and_ledger_until_their_topics_are_created(sink_rig):
    sink_rig.create_topics()
    for done in sink_rig.admin.delete_topics([f"dlq-{sink_rig.topic}", "processed-events"]).values():
        done.result()
    producer = sink_rig.producer()
    producer.produce(sink_rig.topic, b"{broken", b"1", partition=0)
    for partition in range(PARTITIONS):
        producer.produce(sink_rig.topic, sink_rig.event(partition), b"1", partition=partition)
    assert producer.flush(30) == 0
    process = sink_rig.start(SINK_FLUSH_INTERVAL_SECONDS=0.5)
    sink_rig.wait(lambda: process.log.read_text().count("topic_unusable") == 2)
    assert len(sink_rig.offsets()) == PARTITIONS
    assert sink_rig.committed()[0] < 1
    sink_rig.create_topics()
    sink_rig.wait(lambda: sink_rig.committed() == sink_rig.ends())
    sink_rig.wait(lambda: process.log.read_text().count("topic_usable_again") == 2)
    assert [m.value() for m in sink_rig.read(f"dlq-{sink_rig.topic}")] == [b"{broken"]
    assert sum(record["rows"] for record in sink_rig.ledger()) == PARTITIONS
    sink_rig.stop(process)


def test_a_missing_topic_is_named(sink_rig):
    process = sink_rig.start()
    assert process.wait(30) == os.EX_CONFIG
    log = process.log.read_text()
    assert f"`{sink_rig.topic}`" in log and f"`dlq-{sink_rig.topic}`" in log


def test_a_contract_that_cannot_read_a_registered_version_ends_the_start_and_names_the_field(sink_rig, schema_registry):
    sink_rig.create_topics()
    contract = json.loads((REPOSITORY / "domains" / "events" / "contract.json").read_text())
    contract["properties"]["session_id"] = {"type": "integer"}
    client = registry_client(settings_of(schema_registry.env()))
    client.register_schema(f"{sink_rig.topic}-value", Schema(json.dumps(contract), "JSON"))
    process = sink_rig.start(**schema_registry.env())
    assert process.wait(30) == os.EX_CONFIG
    assert "`session_id`" in process.log.read_text()


def test_a_broken_entry_leaves_its_records_in_kafka_and_the_others_go_on(sink_rig):
    entry = yaml.safe_load(sink_rig.domains_file.read_text())["domains"]["events"]
    topic = f"{sink_rig.topic}-visits"
    visits = entry | {
        "plugin": "domains.events",
        "topic": entry["topic"] | {"name": topic},
        "source": {"kind": "clickstream", "command": "visits"},
        "gold": {"tables": {"visits": ["event_date"]}},
    }
    sink_rig.domains_file.write_text(yaml.safe_dump({"domains": {"events": entry, "visits": visits}}))
    sink_rig.create_topics()
    sink_rig.produce(5)
    producer = sink_rig.producer()
    producer.produce(topic, sink_rig.event(1), "1")
    assert producer.flush(60) == 0
    broken = {"events": entry, "visits": visits | {"schedule": "hourly"}}
    sink_rig.domains_file.write_text(yaml.safe_dump({"domains": broken}))
    log = sink_rig.run("--until-caught-up")
    assert "domain_broken domain=visits" in log and "sink_started domains=events " in log
    # Of a Kafka partition without a record nothing need be committed.
    assert {p: max(offset, 0) for p, offset in sink_rig.committed().items()} == sink_rig.ends()
    assert len(sink_rig.rows()) == 5
    assert not list(sink_rig.lake.glob("bronze/visits/**/*.parquet")) and not sink_rig.read(f"dlq-{topic}")
    sink_rig.domains_file.write_text(yaml.safe_dump({"domains": {"events": entry, "visits": visits}}))
    sink_rig.run("--until-caught-up")
    [file] = sink_rig.lake.glob("bronze/visits/**/*.parquet")
    assert pq.read_metadata(file).num_rows == 1 and len(sink_rig.rows()) == 5


def test_a_registry_that_is_out_is_no_reason_not_to_start(sink_rig):
    sink_rig.create_topics()
    sink_rig.produce(5)
    log = sink_rig.run("--until-caught-up", SCHEMA_REGISTRY_URL="http://127.0.0.1:9/none")
    assert "contracts_unchecked" in log and len(sink_rig.offsets()) == 5
