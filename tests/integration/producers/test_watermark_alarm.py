"""A transaction that is left open: the alarm names it, the rows of others keep flowing, and its own come at its end."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from platform_core.lake.alerts import Alert
from platform_kafka.alerts import AlertTopic
from platform_kafka.topics import PIPELINE_ALERTS, kafka_client_config
from producers.postgres.poller import TablePoller
from producers.postgres.watermark_alarm import KIND, OpenTransaction, WatermarkAlarm
from simulation.history.virtual import MemoryWatermark
from simulation.shop.seed import seed_shop
from simulation.world import World, WorldSize

PLACE = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) VALUES (%s, 1, 1, 'x', 'card', 10, 1, 0, 11)"
)


def alerts(producers_rig: Any) -> list[dict[str, Any]]:
    consumer = Consumer({**kafka_client_config(producers_rig.settings, admin=True), "group.id": "test"})
    found = []
    for number in consumer.list_topics(PIPELINE_ALERTS, timeout=30).topics[PIPELINE_ALERTS].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(PIPELINE_ALERTS, number), timeout=30)
        consumer.assign([TopicPartition(PIPELINE_ALERTS, number, low)])
        for _ in range(high - low):
            message = consumer.poll(10)
            assert message is not None and not message.error()
            document = json.loads(message.value() or b"")
            assert (message.key() or b"").decode() == document["key"]
            found.append(document)
    consumer.close()
    return [document for document in found if document["kind"] == KIND]


def test_an_open_transaction_is_told_of_and_delays_only_its_own_rows(
    provisioned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "producers")
    shop, slow = provisioned.connect(), provisioned.connect()
    seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark())
    minute = 0.0
    before = len(alerts(provisioned))
    alarm = WatermarkAlarm("orders", 1e-6, AlertTopic(provisioned.settings).send, seconds=lambda: minute)

    def poll() -> int:
        sent = poller.poll().total
        alarm.check(poller.reader)
        return sent

    poll()
    assert poller.reader.held_seconds == 0 and not alarm.is_on
    slow.cursor().execute("BEGIN")
    slow.cursor().execute(PLACE, (1,))
    for number in range(2, 6):
        shop.cursor().execute(PLACE, (number,))
        assert poll() == 1  # nothing waits for the open transaction
    assert alarm.is_on and poller.reader.held_seconds > 0
    assert 0 < poller.reader.held_seconds <= poller.reader.watermark_age_seconds
    pid = slow.info.backend_pid
    [line] = [record.getMessage() for record in caplog.records if "watermark_held_back" in record.getMessage()]
    assert f"source=orders seconds=0 pid={pid} user=shop state=idle_in_transaction since=2" in line
    minute = 61.0
    poll()
    assert sum("watermark_held_back" in record.getMessage() for record in caplog.records) == 2

    slow.cursor().execute("COMMIT")
    assert poll() == 1
    assert not alarm.is_on and poller.reader.held_seconds == 0
    assert sum("watermark_released source=orders" in record.getMessage() for record in caplog.records) == 1
    assert {record["order_id"] for record in provisioned.records("orders")} == {1, 2, 3, 4, 5}

    published = alerts(provisioned)[before:]
    assert len(published) == 1, "one alert an occurrence, and not one a minute"
    assert list(published[0]) == [field.name for field in fields(Alert)]
    assert published[0]["key"].startswith(f"{KIND}/orders/2")
    assert published[0]["command"] == f"SELECT pg_terminate_backend({pid});"
    assert f"Postgres process {pid}, user shop" in published[0]["where"]


def test_a_reader_that_holds_nothing_back_is_no_blocker(provisioned: Any) -> None:
    shop, reading = provisioned.connect(), provisioned.connect()
    seed_shop(shop, World(7, WorldSize(users=5, restaurants=2, menu_items=3, cities=2)))
    reading.cursor().execute("BEGIN; SELECT count(*) FROM orders")
    poller = TablePoller(provisioned.connect(), provisioned.delivery("orders"), MemoryWatermark())
    poller.poll()
    poller.poll()
    assert poller.reader.held_seconds == 0
    assert OpenTransaction.oldest(shop) == OpenTransaction()
