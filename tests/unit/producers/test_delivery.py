"""Delivery on librdkafka's mock cluster: what is acknowledged, refused, or neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from platform_core.domain.catalog import Catalog
from platform_core.errors import PermanentError, TransientError
from platform_kafka.formats.wire_format import decode_value
from platform_kafka.registry import RegisteredContract, compile_contract
from producers.clickstream.crowd import ClickstreamSender
from producers.delivery import Delivery, Receipt, TopicUnusableError
from simulation.history.bulk import BulkDelivery
from tests.rigs.kafka.topic_content import read_topic

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
    "deleted_at": None,
}


@pytest.fixture(scope="module")
def contract(catalog: Catalog) -> RegisteredContract:
    return compile_contract(catalog["users"], 42)


@pytest.fixture
def servers() -> Iterator[str]:
    mock = Producer({"bootstrap.servers": "ignored:1", "test.mock.num.brokers": 1})
    brokers = mock.list_topics(timeout=30).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


def connected(contract: RegisteredContract, servers: str, delivery_seconds: float = 8.0, **config: Any) -> BulkDelivery:
    def connect(failed: Callable[..., None]) -> Producer:
        return Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "delivery.report.only.error": True,
                "on_delivery": failed,
                "log_level": 0,
                **config,
            }
        )

    return BulkDelivery(connect, contract, delivery_seconds=delivery_seconds)


def read(servers: str, topic: str) -> list[Message]:
    return read_topic({"bootstrap.servers": servers}, topic)


def test_delivered_records_are_counted_by_date(contract: RegisteredContract, servers: str) -> None:
    delivery = connected(contract, servers)
    for day in (10, 10, 11):
        delivery.send({**USER, "extracted_at": f"2026-03-{day}T23:55:00.000000Z"})
    receipt = delivery.deliver()
    assert (dict(receipt.delivered), receipt.total, receipt.refused) == ({"2026-03-10": 2, "2026-03-11": 1}, 3, 0)
    assert delivery.deliver().total == 0
    messages = read(servers, "raw-users")
    assert {message.key() for message in messages} == {b"17"}
    assert {(message.value() or b"")[:5] for message in messages} == {b"\x00\x00\x00\x00\x2a"}
    assert len({message.partition() for message in messages}) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"tier": 31_415}, '`tier`: the value is not of type "string" (`type`)'),
        ({"extracted_at": "jane@example.com"}, '`extracted_at`: the value is not a "date-time" (`format`)'),
        ({"user_id": "jane@example.com"}, '`user_id`: the value is not of type "integer" (`type`)'),
        ({"note": {"a": "jane"}}, "`note`: the value is not of types"),
    ],
)
def test_a_breach_of_the_contract_becomes_a_dead_letter(
    contract: RegisteredContract,
    servers: str,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    where: str,
) -> None:
    delivery = connected(contract, servers)
    delivery.send({**USER, **change})
    delivery.send(USER)
    receipt = delivery.deliver()
    assert (receipt.total, receipt.refused) == (1, 1)
    (letter,) = read(servers, "dlq-raw-users")
    headers = headers_of(letter)
    assert headers["dlq.error_class"] == "contract_violation"
    assert where in headers["dlq.error"]
    assert "jane" not in headers["dlq.error"] + caplog.text and "31415" not in headers["dlq.error"] + caplog.text
    assert (headers["dlq.topic"], headers["dlq.schema_id"], headers["dlq.offset"]) == ("raw-users", "42", "-1")
    assert decode_value(letter.value() or b"") == {**USER, **change}


def test_a_missing_field_is_a_dead_letter_too(contract: RegisteredContract, servers: str) -> None:
    delivery = connected(contract, servers)
    delivery.send({"user_id": 1})
    assert delivery.deliver().refused == 1


def headers_of(letter: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in letter.headers() or [] if isinstance(value, bytes)}


@pytest.mark.parametrize("change", [{}, {"tier": 3}])
def test_a_record_larger_than_any_topic_is_a_dead_letter_without_its_value(
    contract: RegisteredContract, servers: str, change: dict[str, Any]
) -> None:
    delivery = connected(contract, servers, **{"message.max.bytes": 5_000})
    delivery.send({**USER, **change, "name": "x" * 6_000})
    delivery.send(USER)
    receipt = delivery.deliver()
    assert (receipt.total, receipt.refused) == (1, 1)
    (letter,) = read(servers, "dlq-raw-users")
    headers = headers_of(letter)
    assert (letter.key(), letter.value()) == (b"17", None)
    assert headers["dlq.error_class"] == ("contract_violation" if change else "too_large")
    assert int(headers["dlq.value_omitted_bytes"]) > 6_000


@pytest.mark.parametrize("document", ['{"user_id": 17, "note": 1e999}', '{"user_id": 17, "note": ' + "[" * 5_000])
def test_a_document_that_is_no_record_is_a_dead_letter(
    contract: RegisteredContract, servers: str, document: str
) -> None:
    delivery = connected(contract, servers)
    delivery.send_text(17, document, {})
    assert delivery.deliver().refused == 1
    (letter,) = read(servers, "dlq-raw-users")
    assert (letter.key(), letter.value()) == (b"17", document.encode())
    assert headers_of(letter)["dlq.error_class"] == "malformed_json"


def test_dead_letters_wait_for_a_full_queue_as_records_do(contract: RegisteredContract, servers: str) -> None:
    delivery = connected(contract, servers, **{"queue.buffering.max.messages": 100})
    for _ in range(1_000):
        delivery.send({**USER, "tier": 3})
    assert delivery.deliver().refused == 1_000


def test_an_unreachable_cluster_is_transient_and_everything_can_be_sent_again(
    contract: RegisteredContract, servers: str
) -> None:
    delivery = connected(contract, "127.0.0.1:1", **{"message.timeout.ms": 500})
    delivery.send(USER)
    with pytest.raises(TransientError, match="1 record for `raw-users` not acknowledged"):
        delivery.deliver()
    assert delivery.deliver().total == 0


def test_what_was_not_acknowledged_in_time_is_purged_before_its_source_sends_it_again(
    contract: RegisteredContract, servers: str
) -> None:
    delivery = connected(contract, "127.0.0.1:1", delivery_seconds=0.2)
    delivery.send(USER)
    with pytest.raises(TransientError, match="no answer in time"):
        delivery.deliver()
    assert len(delivery._producer) == 0, "it would come after the one that is sent again, or twice"


def test_a_record_that_its_topic_refuses_for_its_size_is_a_letter_and_not_delivered(
    contract: RegisteredContract,
) -> None:
    producer, reports = MagicMock(spec=Producer), []
    refused = MagicMock(spec=Message, **{"key.return_value": b"18", "topic.return_value": "raw-users"})
    delivery = Delivery(lambda failed: reports.append(failed) or producer, contract)  # type: ignore[func-returns-value]
    for user_id in (17, 18):
        delivery.send({**USER, "user_id": user_id})
    refused.value.return_value = producer.produce.call_args.args[1]
    flushed = iter([lambda: reports[0](KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), refused), lambda: None])
    producer.flush.side_effect = lambda _: next(flushed)() or 0
    receipt = delivery.deliver()
    assert (dict(receipt.delivered), receipt.total, receipt.refused) == ({"2026-03-10": 1}, 1, 1)
    assert producer.produce.call_args.args[0] == "dlq-raw-users"


def test_bulk_values_are_sampled(contract: RegisteredContract, servers: str) -> None:
    delivery = connected(contract, servers)
    good = [b"\x00\x00\x00\x00\x2a" + orjson.dumps(USER)] * 250
    delivery.send_encoded([b"17"] * 250, good, "2026-03-10")
    assert delivery.deliver().delivered == {"2026-03-10": 250}
    with pytest.raises(PermanentError, match="mend the generator"):
        delivery.send_encoded([b"17"], [b"\x00\x00\x00\x00\x2a{}"], "2026-03-10")


def test_a_full_queue_waits(contract: RegisteredContract, servers: str) -> None:
    delivery = connected(contract, servers, **{"queue.buffering.max.messages": 100})
    value = b"\x00\x00\x00\x00\x2a" + orjson.dumps(USER)
    delivery.send_encoded([b"17"] * 2_000, [value] * 2_000, "2026-03-10")
    assert delivery.deliver().total == 2_000
    assert len(read(servers, "raw-users")) == 2_000


def test_the_live_clickstream_keeps_what_is_not_acknowledged() -> None:
    sent, outcomes = [], [TransientError("away"), Receipt(Counter({"2026-03-10": 3}))]
    delivery = MagicMock(spec=Delivery)
    delivery.send.side_effect = lambda event: sent.append(event["event_id"])
    delivery.deliver.side_effect = outcomes
    sender = ClickstreamSender(lambda: delivery)
    sender.send({"event_id": "a"})
    sender.send({"event_id": "b"})
    with pytest.raises(TransientError):
        sender.deliver()
    sender.send({"event_id": "c"})
    sender.deliver()
    assert sent == ["a", "b", "a", "b", "c"]
    assert sender.receipt.total == 3


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_dead_letter_topic_that_takes_nothing_is_named_and_the_records_are_sent_again(
    contract: RegisteredContract, code: int
) -> None:
    producer, reports = MagicMock(spec=Producer), []
    delivery = Delivery(lambda failed: reports.append(failed) or producer, contract)  # type: ignore[func-returns-value]
    refused = MagicMock(spec=Message, **{"topic.return_value": "dlq-raw-users"})
    producer.flush.side_effect = lambda _: reports[0](KafkaError(code), refused) or 0
    delivery.send(USER)
    delivery.send({**USER, "tier": 3})
    with pytest.raises(TopicUnusableError, match="`dlq-raw-users` not acknowledged") as raised:
        delivery.deliver()
    assert raised.value.outage.where == "topic dlq-raw-users" and isinstance(raised.value, TransientError)
    producer.produce.side_effect = KafkaException(KafkaError(code))  # what the client says when it knows already
    with pytest.raises(TopicUnusableError, match="`raw-users` does not take"):
        delivery.send(USER)


def test_the_live_clickstream_keeps_an_event_that_its_topic_refuses_at_once() -> None:
    delivery = MagicMock(spec=Delivery)
    delivery.send.side_effect = [TopicUnusableError("raw-events", "away"), *[None] * 9]
    delivery.deliver.side_effect = lambda: Receipt(Counter({"2026-03-10": delivery.send.call_count - 1}))
    sender = ClickstreamSender(lambda: delivery)
    with pytest.raises(TransientError):
        sender.send({"event_id": "a"})
    sender.send({"event_id": "b"})
    sender.deliver()
    sent = [call.args[0]["event_id"] for call in delivery.send.call_args_list]
    assert sent == ["a", "a", "b"]
    assert sender.receipt.total == 2
