from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from platform_core.settings import REPOSITORY


def test_kill_9_in_the_middle_loses_nothing(bench):
    bench.create_topics()
    bench.produce(20_000)
    for _ in range(2):
        before = len(bench.files())
        process = bench.start(SINK_FLUSH_BUFFER_SIZE=20)
        bench.wait(lambda before=before: len(bench.files()) > before + 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(set(bench.offsets())) < 20_000, "the kill came too late to prove anything"
    bench.run("--until-caught-up", SINK_FLUSH_BUFFER_SIZE=1_000)
    assert Counter(bench.offsets()) == Counter(bench.produced()), "what a killed sink had put was written again"
    assert bench.committed() == bench.ends()
    assert {record["file"] for record in bench.ledger()} == {str(p.relative_to(bench.lake)) for p in bench.files()}
    assert not list((bench.lake / "pipeline-metadata" / "sink_journal").glob("*"))


def test_one_record_and_then_silence_is_in_bronze_within_the_interval_and_a_second(bench):
    bench.create_topics()
    process = bench.start(SINK_FLUSH_INTERVAL_SECONDS=3)
    bench.wait(lambda: "partitions_assigned" in process.log.read_text())
    bench.produce(1)
    produced = time.monotonic()
    bench.wait(bench.files)
    # The interval is exact in tests/unit/sink/test_sink_loop.py, on a clock of its own; a busy machine adds to it here.
    assert 2 < time.monotonic() - produced < 10
    bench.stop(process)


def test_the_endpoint_says_how_the_sink_is_and_flushes_on_request(bench):
    bench.create_topics()
    bench.produce(5)
    process = bench.start(METRICS_PORT=0)
    bench.wait(lambda: "probe_server_listens url=" in process.log.read_text())
    url = re.search(r"probe_server_listens url=(\S+)", process.log.read_text())[1]
    with urlopen(f"{url}/healthz", timeout=5) as answer:
        assert json.load(answer)["status"] == "ok"

    def metric(name: str) -> float:
        with urlopen(f"{url}/metrics", timeout=5) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith(name)]
        return sum(float(line.split()[-1]) for line in lines)

    bench.wait(lambda: metric("pdp_sink_buffered_records") == 5)
    assert metric("pdp_sink_records_total") == 5 and not bench.files()
    with urlopen(Request(f"{url}/flush", method="POST"), timeout=30) as answer:
        assert json.load(answer)["drained"] is True
    assert len(bench.offsets()) == 5 and bench.committed() == bench.ends()
    assert metric("pdp_sink_flushes_total") == len(bench.files())
    bench.stop(process)


def test_records_of_old_and_new_contracts_share_their_files(bench):
    bench.create_topics()
    producer = bench.producer()
    for number in range(60):
        event = json.loads(bench.event(number)) | ({"app_version": "9"} if number % 2 else {})
        body = json.dumps(event).encode()
        value = (b"\0\0\0\0" + bytes([1 + number % 2]) + body) if number % 3 else body
        producer.produce(bench.topic, value, str(number), partition=0)
    assert producer.flush(60) == 0
    bench.run("--until-caught-up")
    assert len(bench.files()) == 5, "one file for each of the five dates, whatever the versions"
    assert Counter(bool(row["_extra"]) for row in bench.rows()) == {True: 30, False: 30}
    assert {row["_schema_id"] for row in bench.rows()} == {None, 1, 2}


def test_sigterm_leaves_nothing_to_read_again(bench):
    bench.create_topics()
    bench.produce(20_000)
    process = bench.start(SINK_FLUSH_BUFFER_SIZE=50)
    bench.wait(lambda: len(bench.files()) > 20)
    bench.stop(process)
    done = bench.offsets()
    assert len(done) < 20_000, "the signal came too late to prove anything"
    assert sum(offset for offset in bench.committed().values() if offset > 0) == len(done)
    bench.run("--until-caught-up")
    assert Counter(bench.offsets()) == Counter(bench.produced())
    records = bench.ledger()
    assert sum(record["rows"] for record in records) == 20_000
    assert {record["file"] for record in records} == {str(path.relative_to(bench.lake)) for path in bench.files()}


def test_two_sinks_share_the_work_and_lose_nothing(bench, tmp_path):
    bench.create_topics()
    lakes = [tmp_path / "lake-a", tmp_path / "lake-b"]
    options = {"SINK_FLUSH_BUFFER_SIZE": 100, "SINK_FLUSH_INTERVAL_SECONDS": 1}
    stop = threading.Event()

    def keep_producing() -> None:
        first = 0
        while not stop.is_set():
            bench.produce(200, first)
            first += 200
            time.sleep(0.1)

    thread = threading.Thread(target=keep_producing)
    thread.start()
    try:
        first = bench.start(LAKE_URI=lakes[0], **options)
        bench.wait(lambda: bench.files(lakes[0]))
        second = bench.start(LAKE_URI=lakes[1], **options)
        bench.wait(lambda: bench.files(lakes[1]))
        count = len(bench.files(lakes[0]))
        bench.wait(lambda: len(bench.files(lakes[0])) > count)
        bench.stop(first)
        time.sleep(1)
    finally:
        stop.set()
        thread.join()
    ends = bench.ends()
    bench.wait(lambda: bench.committed() == ends)
    bench.stop(second)
    seen = Counter(bench.offsets(lakes[0])) + Counter(bench.offsets(lakes[1]))
    assert set(seen) == bench.produced()
    assert set(seen.values()) == {1}, "a rebalance that everybody survives reads nothing twice"


def test_bad_records_go_to_the_dlq_and_the_good_ones_arrive(bench):
    bench.create_topics()
    good = json.loads(bench.event(1))

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
    producer = bench.producer()
    for number, (value, key, _) in enumerate([*bad, (unknown, b"12", None)]):
        producer.produce(bench.topic, bench.event(number), str(number), partition=0)
        producer.produce(bench.topic, value, key, partition=0, headers=[("trace", b"t"), ("none", None)])
    assert producer.flush(60) == 0

    bench.run("--until-caught-up")

    rows = bench.rows()
    assert sorted(row["event_id"] for row in rows) == sorted([*map(str, range(len(bad) + 1)), "unknown-field"])
    assert [row["_extra"] for row in rows if row["_extra"]] == ['{"app_version":"9"}']
    letters = bench.read(f"dlq-{bench.topic}")
    assert [(m.value(), m.key()) for m in letters] == [(value, key) for value, key, _ in bad]
    for number, (letter, (_, _, reason)) in enumerate(zip(letters, bad, strict=True)):
        headers = dict(letter.headers())
        assert headers["dlq.error_class"].decode() == reason
        assert (headers["dlq.topic"].decode(), headers["dlq.partition"]) == (bench.topic, b"0")
        assert int(headers["dlq.offset"]) == 2 * number + 1
        assert headers["dlq.attempt"] == b"1" and headers["dlq.error"] and headers["dlq.timestamp"]
        assert (headers["trace"], headers["none"]) == (b"t", None)
    assert bench.committed() == bench.ends()


def test_an_outage_of_the_store_waits_and_sends_nothing_to_the_dlq(bench):
    bench.create_topics()
    bench.produce(300)
    bench.lake.mkdir()
    (bench.lake / "bronze").write_text("a file where the folder should be")
    process = bench.start(SINK_FLUSH_INTERVAL_SECONDS=0.5)
    bench.wait(lambda: process.log.read_text().count("store_unavailable") >= 3)
    assert all(offset < 1 for offset in bench.committed().values())
    (bench.lake / "bronze").unlink()
    bench.wait(lambda: bench.committed() == bench.ends())
    bench.stop(process)
    assert Counter(bench.offsets()) == Counter(bench.produced())
    assert not bench.read(f"dlq-{bench.topic}")


def test_files_hold_exactly_the_size_that_was_set_and_the_rest_comes_by_age(bench):
    bench.create_topics()
    bench.produce(60)  # twelve of each of five dates
    process = bench.start(SINK_FLUSH_BUFFER_SIZE=10, SINK_FLUSH_INTERVAL_SECONDS=2)
    bench.wait(lambda: len(bench.offsets()) == 60)
    bench.stop(process)
    assert Counter(pq.read_metadata(path).num_rows for path in bench.files()) == {10: 5, 2: 5}


def test_wrong_credentials_end_the_start_with_one_sentence(bench):
    bench.create_topics()
    started = time.monotonic()
    process = bench.start(KAFKA_PASSWORD="wrong-password")
    assert process.wait(30) == os.EX_CONFIG
    assert time.monotonic() - started < 20
    log = process.log.read_text()
    assert "refuses user `app`" in log and "wrong-password" not in log


def test_a_missing_topic_is_named(bench):
    process = bench.start()
    assert process.wait(30) == os.EX_CONFIG
    log = process.log.read_text()
    assert f"`{bench.topic}`" in log and f"`dlq-{bench.topic}`" in log


def test_a_contract_that_cannot_read_a_registered_version_ends_the_start_and_names_the_field(bench, schema_registry):
    bench.create_topics()
    contract = json.loads((REPOSITORY / "domains" / "events" / "contract.json").read_text())
    contract["properties"]["session_id"] = {"type": "integer"}
    client = SchemaRegistryClient({"url": schema_registry.env()["SCHEMA_REGISTRY_URL"]})
    client.register_schema(f"{bench.topic}-value", Schema(json.dumps(contract), "JSON"))
    process = bench.start(**schema_registry.env())
    assert process.wait(30) == os.EX_CONFIG
    assert "`session_id`" in process.log.read_text()


def test_a_registry_that_is_out_is_no_reason_not_to_start(bench):
    bench.create_topics()
    bench.produce(5)
    log = bench.run("--until-caught-up", SCHEMA_REGISTRY_URL="http://127.0.0.1:9/none")
    assert "contracts_unchecked" in log and len(bench.offsets()) == 5
