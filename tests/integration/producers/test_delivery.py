"""What only a real broker refuses."""

from __future__ import annotations

import random
from typing import Any

import pytest
from confluent_kafka import Producer

from platform_core.errors import PermanentError
from platform_kafka.topics import dlq_name, kafka_client_config

USER = {
    "user_id": 17,
    "name": "Ann",
    "email_masked": "a***@example.com",
    "city": "Graz",
    "tier": "gold",
    "is_active": True,
    "created_at": "2026-03-01T10:00:00.000000Z",
    "updated_at": "2026-03-10T10:00:00.000000Z",
    "extracted_at": "2026-03-10T23:55:00.000000Z",
}
MEGABYTE = 1_048_576


def noise(size: int) -> str:
    # Base 36 hardly compresses: the broker measures what arrives.
    draw = random.Random(1)
    return "".join(draw.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=size))


def test_a_record_too_large_for_its_topic_becomes_a_dead_letter(provisioned: Any) -> None:
    delivery = provisioned.delivery("users")
    delivery.send(USER)
    delivery.send({**USER, "user_id": 18, "name": noise(int(4.6 * MEGABYTE))})
    delivery.send({**USER, "user_id": 19})
    receipt = delivery.settle()
    assert (dict(receipt.delivered), receipt.refused) == ({"2026-03-10": 2}, 1)
    assert {record["user_id"] for record in provisioned.records("users")} == {17, 19}
    (letter,) = provisioned.messages(dlq_name(provisioned.catalog["users"]))
    headers = dict(letter.headers() or [])
    assert headers["dlq.error_class"] == b"too_large"
    assert letter.key() == b"18"
    assert delivery.settle().total == 0


def test_a_topic_that_is_not_there_stops_the_process(provisioned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = kafka_client_config(provisioned.settings) | {"topic.metadata.propagation.max.ms": 1_000}  # for 30 s
    monkeypatch.setattr("platform_kafka.clients.kafka_client_config", lambda *_, **__: config)
    delivery = provisioned.delivery("users")
    monkeypatch.setattr(delivery, "_topic", "raw-nowhere")
    delivery.send(USER)
    with pytest.raises(PermanentError, match="`raw-nowhere` not acknowledged"):
        delivery.settle()


def test_producers_are_idempotent_and_hash_keys_as_java_does(provisioned: Any) -> None:
    delivery = provisioned.delivery("users")
    assert isinstance(delivery._producer, Producer)
    for user_id in range(200):
        delivery.send({**USER, "user_id": user_id})
    assert delivery.settle().total == 200
    for message in provisioned.messages(provisioned.catalog["users"].topic.name):
        assert message.partition() == (murmur2(message.key() or b"") & 0x7FFFFFFF) % 2


def murmur2(data: bytes) -> int:
    """The reference implementation of the Java client."""
    length, m = len(data), 0x5BD1E995
    h = (0x9747B28C ^ length) & 0xFFFFFFFF
    for i in range(length // 4):
        k = int.from_bytes(data[i * 4 : i * 4 + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    tail = data[length & ~3 :]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * m) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * m) & 0xFFFFFFFF
    return h ^ (h >> 15)
