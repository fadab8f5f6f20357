"""Bad records sent straight to `raw-events` of the running platform: the good arrive, the bad have their reason."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from platform_core.settings import settings
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.topics import kafka_client_config
from tests.rigs.ui.finished_demo import FinishedDemo

NOW = datetime.now(UTC)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "search",
        "event_timestamp": NOW.isoformat(),
        "user_id": 1,
        "session_id": "s",
        "device_type": "web",
        "city": "Berlin",
        "properties": {},
        **changes,
    }


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in event().items() if key != name}


GOOD = [event() for _ in range(20)]
UNKNOWN_FIELD = event(loyalty="gold")
BAD: dict[str, tuple[bytes | None, bytes | None]] = {
    "malformed_json": (b"1", b'{"event_id": "x", '),
    "wrong_type": (b"1", json.dumps(event(user_id="seven")).encode()),
    "missing_required": (b"1", json.dumps(without("event_id")).encode()),
    "missing_key": (None, json.dumps(event()).encode()),
    "year_1970": (b"1", json.dumps(event(event_timestamp="1970-01-01T00:00:00Z")).encode()),
    "year_2090": (b"1", json.dumps(event(event_timestamp="2090-01-01T00:00:00Z")).encode()),
    "empty_value": (b"1", b""),
    "null_value": (b"1", None),
    "two_megabytes": (b"1", json.dumps(event(city="x" * 2_000_000)).encode()),
    "not_utf8": (b"1", b'{"event_id": "\xff\xfe"}'),
}
REASONS = {
    "malformed_json": "malformed_json",
    "wrong_type": "contract_violation",
    "missing_required": "contract_violation",
    "missing_key": "missing_key",
    "year_1970": "timestamp_out_of_range",
    "year_2090": "timestamp_out_of_range",
    "empty_value": "empty_value",
    "null_value": "empty_value",
    "two_megabytes": "too_large",
}


def test_poison_stops_nothing(demo: FinishedDemo, demo_settings: None) -> None:
    config = kafka_client_config(settings())
    producer = Producer({**config, **DELIVERY_CONFIG, "message.max.bytes": 3_000_000})
    bad = list(BAD.items())
    for number, good in enumerate(GOOD):
        producer.produce("raw-events", key=b"1", value=json.dumps(good).encode())
        if number < len(bad):
            name, (key, value) = bad[number]
            producer.produce("raw-events", key=key, value=value, headers={"test": name})
    producer.produce("raw-events", key=b"1", value=json.dumps(UNKNOWN_FIELD).encode())
    assert producer.flush(30) == 0

    letters = {header(m, "test"): m for m in read_all("dlq-raw-events", config, len(bad))}
    assert set(letters) >= set(BAD)
    for name, message in letters.items():
        if name not in BAD:
            continue
        assert (message.key(), message.value()) == BAD[name]
        assert header(message, "dlq.topic") == "raw-events"
        assert header(message, "dlq.error")
        if name in REASONS:
            assert header(message, "dlq.error_class") == REASONS[name], name

    wanted = {e["event_id"] for e in [*GOOD, UNKNOWN_FIELD]}
    rows: dict[str, str | None] = {}
    deadline = time.monotonic() + 60
    today = Path(demo.report["lake"]) / "bronze" / "events" / f"event_date={NOW.date()}"
    while not wanted <= rows.keys() and time.monotonic() < deadline:
        time.sleep(1)
        if list(today.glob("*.parquet")):
            rows = dict(duckdb.sql(f"select event_id, _extra from read_parquet('{today}/*.parquet')").fetchall())
    assert wanted <= rows.keys()
    assert json.loads(str(rows[UNKNOWN_FIELD["event_id"]])) == {"loyalty": "gold"}
    assert demo.process.poll() is None


def header(message: Message, name: str) -> str:
    return dict(message.headers() or []).get(name, b"").decode()


def read_all(topic: str, config: dict[str, str | int | float | bool], least: int) -> list[Message]:
    """Read a topic from its beginning until it has been quiet for a while."""
    consumer = Consumer(
        {
            **config,
            "group.id": "s3-sink-consumer-test",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 8_000_000,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = []
    deadline = time.monotonic() + 60
    while len(found) < least and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found
