"""What only a real broker refuses."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from platform_kafka.topics import dlq_name, kafka_client_config
from producers.delivery import TopicUnusableError

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
    receipt = delivery.deliver()
    assert (dict(receipt.delivered), receipt.refused) == ({"2026-03-10": 2}, 1)
    assert {record["user_id"] for record in provisioned.records("users")} == {17, 19}
    (letter,) = provisioned.messages(dlq_name(provisioned.catalog["users"]))
    headers = dict(letter.headers() or [])
    assert headers["dlq.error_class"] == b"too_large"
    assert letter.key() == b"18"
    assert delivery.deliver().total == 0


def test_a_dead_letter_topic_that_is_missing_is_used_as_soon_as_it_is_there(
    provisioned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kafka_client_config(provisioned.settings) | {"topic.metadata.propagation.max.ms": 1_000}  # for 30 s
    monkeypatch.setattr("platform_kafka.clients.kafka_client_config", lambda *_, **__: config)
    admin, topic = (
        AdminClient(kafka_client_config(provisioned.settings, admin=True)),
        dlq_name(provisioned.catalog["users"]),
    )
    admin.delete_topics([topic])[topic].result()
    delivery = provisioned.delivery("users")

    def send() -> Any:
        delivery.send(USER)
        delivery.send({**USER, "tier": 3})
        return delivery.deliver()

    for _ in range(2):
        with pytest.raises(TopicUnusableError, match=f"`{topic}`"):
            send()
        delivery.abandon()
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    deadline = time.monotonic() + 60
    while True:
        try:
            receipt = send()
            break
        except TopicUnusableError:
            assert time.monotonic() < deadline
            delivery.abandon()
    assert (receipt.total, receipt.refused) == (1, 1)
    assert len(provisioned.messages(topic)) == 1


def test_producers_are_idempotent_and_hash_keys_as_java_does(provisioned: Any) -> None:
    delivery = provisioned.delivery("users")
    assert isinstance(delivery._producer, Producer)
    for user_id in range(200):
        delivery.send({**USER, "user_id": user_id})
    assert delivery.deliver().total == 200
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
