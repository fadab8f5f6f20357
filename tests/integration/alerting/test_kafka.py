"""Alerts on the topic `pipeline-alerts` of a real broker."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from alerting import posted_alerts
from alerting.dispatch import dispatch
from alerting.posted_alerts import PostedAlerts
from infra.embedded.services.kafka import Kafka
from platform_core.domain.catalog import load_catalog
from platform_core.errors import TransientError
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings
from platform_kafka import alerts
from platform_kafka.publishing import DELIVERY_CONFIG
from platform_kafka.topics import PIPELINE_ALERTS, kafka_client_config, topic_specs
from tests.rigs.settings_of import settings_of


def an_alert() -> Alert:
    return Alert(
        key=f"dead:orders:{uuid.uuid4()}",
        kind=AlertKind.DEAD,
        domain="orders",
        partition_date=date(2026, 11, 20),
        what="It is dead — für immer.",
        where="orders",
        command="pdp partitions revive orders 2026-11-20",
        at=datetime(2026, 11, 21, 6, tzinfo=UTC),
    )


@pytest.fixture
def log(tmp_path: Path) -> AlertLog:
    return AlertLog(Lake(Settings(lake_uri=str(tmp_path / "lake"))))


@pytest.fixture(scope="module")
def connection(kafka: Kafka) -> Settings:
    settings = settings_of(kafka.env())
    admin = AdminClient(kafka_client_config(settings, admin=True))
    [spec] = [
        s for s in topic_specs(load_catalog(REPOSITORY / "domains" / "domains.yaml")) if s.name == PIPELINE_ALERTS
    ]
    if spec.name not in admin.list_topics(timeout=30).topics:
        for done in admin.create_topics([NewTopic(spec.name, spec.partitions, 1, config=spec.config)]).values():
            done.result()
    return settings


def records(settings: Settings, key: str) -> list[Message]:
    consumer = Consumer({**kafka_client_config(settings), "group.id": "test"})
    found = []
    try:
        for partition in consumer.list_topics(PIPELINE_ALERTS, timeout=30).topics[PIPELINE_ALERTS].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(PIPELINE_ALERTS, partition), timeout=30)
            consumer.assign([TopicPartition(PIPELINE_ALERTS, partition, low)])
            while low < high:
                message = consumer.poll(10)
                assert message is not None and message.error() is None
                found.append(message)
                low = message.offset() + 1
    finally:
        consumer.close()
    return [message for message in found if message.key() == key.encode()]


def test_an_alert_is_there_once_when_it_is_sent_twice(connection: Settings, log: AlertLog) -> None:
    alert, channel = an_alert(), alerts.AlertTopic(connection)
    assert dispatch(log, [alert], [channel]).sent == 1
    assert dispatch(log, [alert], [channel]).sent == 0
    [message] = records(connection, alert.key)
    assert json.loads(message.value() or b"") == {
        "key": alert.key,
        "kind": "DEAD",
        "domain": "orders",
        "partition_date": "2026-11-20",
        "what": "It is dead — für immer.",
        "where": "orders",
        "command": "pdp partitions revive orders 2026-11-20",
        "at": "2026-11-21T06:00:00+00:00",
    }


def test_a_broker_that_is_away_leaves_it_pending_and_gets_one_copy_later(
    connection: Settings, log: AlertLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "ACKNOWLEDGE_SECONDS", 1.0)
    alert = an_alert()
    away = alerts.AlertTopic(connection.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
    assert dispatch(log, [alert], [away]).failed == 1
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        away.send(alert)
    assert [a.key for a in log.pending("kafka")] == [alert.key]
    monkeypatch.setattr(alerts, "ACKNOWLEDGE_SECONDS", 5.0)
    assert dispatch(log, [alert], [alerts.AlertTopic(connection)]).sent == 1
    assert len(records(connection, alert.key)) == 1


def test_what_anybody_posts_is_read_once_and_what_is_no_alert_is_passed_over(connection: Settings) -> None:
    inbox, topic = PostedAlerts(connection), alerts.AlertTopic(connection)
    _, read = inbox.read({})
    first, second = an_alert(), replace(an_alert(), partition_date=None, domain=None)
    topic.send(first)
    producer = Producer({**kafka_client_config(connection), **DELIVERY_CONFIG})
    for value in (b"{}", b"no json", None, json.dumps({**first.to_json(), "kind": "OTHER"}).encode()):
        producer.produce(PIPELINE_ALERTS, value, b"key")
    producer.produce(
        PIPELINE_ALERTS, json.dumps({**first.to_json(), "key": "old"}).encode(), timestamp=1_600_000_000_000
    )
    producer.flush(10)
    topic.send(second)
    found, read = inbox.read(read)
    assert sorted(found, key=lambda a: a.key) == sorted([first, second], key=lambda a: a.key)
    assert inbox.read(read) == ([], read)
    again, _ = inbox.read(dict.fromkeys(read, 10_000_000))  # of a topic that was recreated since
    assert {first.key, second.key} <= {alert.key for alert in again}


def test_a_broker_that_is_away_is_said(connection: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posted_alerts, "ANSWER_SECONDS", 0.5)
    away = PostedAlerts(connection.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        away.read({})
