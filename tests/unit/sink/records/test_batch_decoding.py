from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.settings import REPOSITORY
from platform_kafka.formats.refusal_reason import RefusalReason
from sink.records.batch_decoding import CHUNKS_MESSAGES, BatchDecoder
from sink.records.decoding import Decoder, Record
from tests.rigs.kafka.memory_kafka import MemoryMessage
from tests.rigs.sink.samples import EVENT, NOW, ORDER, encoded

WIRE = b"\x00\x00\x00\x00\x2a"
GOOD = encoded(EVENT)
OF_ANOTHER_DAY = encoded(EVENT, event_timestamp="2026-02-28T10:00:00-02:00", city="\u00e9")
RICH = encoded(EVENT, properties={"a": {"b": [{"a": 1}]}, "c": "x:{}", "d": [1, None]})
ODD = [
    GOOD,
    OF_ANOTHER_DAY,
    RICH,
    WIRE + GOOD,
    b"\x00\x00\x00\x00\x2b" + GOOD,
    WIRE,
    b"",
    None,
    b" " + GOOD,
    GOOD + b"\n",
    GOOD + GOOD,
    GOOD + b"\n" + GOOD,
    GOOD.replace(b",", b",\n", 1),
    GOOD.replace(b'":', b'" :', 1),
    GOOD.replace(b'":', b'"\t:', 1),
    GOOD[:-1] + b',"user_id":8}',
    GOOD[:-1] + b',"user_id" :8}',
    GOOD[:-1] + b',"new":1}',
    GOOD.replace(b'"pizza"', b'"pizza","query":"x"'),
    GOOD.replace(b'"pizza"', b'{"a":1,"a":2}'),
    GOOD.replace(b'"pizza"', b'"\\ud800"'),
    GOOD.replace(b'"pizza"', b"1e400"),
    GOOD.replace(b"pizza", b"\xff"),
    encoded(EVENT, city='":'),
    encoded(EVENT, city=":"),
    encoded(EVENT, city=...),
    encoded(EVENT, user_id=7.0),
    encoded(EVENT, user_id=2**63),
    encoded(EVENT, properties=[]),
    encoded(EVENT, properties=None),
    encoded(EVENT, event_timestamp="2090-01-01T00:00:00Z"),
    encoded(EVENT, event_timestamp="2001-01-01T00:00:00Z"),
    encoded(EVENT, event_timestamp="0001-01-01T00:00:00+14:00"),
    encoded(EVENT, city="x" * 2_000),
    GOOD[:40],
    GOOD[40:],
    GOOD.partition(b"}")[0] + b"}",
    b"[" + GOOD + b"]",
    b'{"a":"}',
    b'{"}',
]


@pytest.fixture(scope="module")
def decoders(catalog):
    limits = (2_000, timedelta(hours=24))
    return {domain.name: (Decoder(domain, *limits), BatchDecoder(domain, *limits)) for domain in catalog}


def messages(*values: bytes | None, key: bytes | None = b"7") -> list[MemoryMessage]:
    return [MemoryMessage("t", n % 3, n, key, value, (n % 2, n), None) for n, value in enumerate(values)]


def rows_by_day(decoded) -> dict[date, list[tuple]]:
    return {
        day: list(
            zip(
                rows.partitions,
                rows.offsets,
                rows.timestamps,
                rows.keys,
                rows.schema_ids,
                rows.extras,
                rows.sizes,
                zip(*rows.values, strict=True),
                strict=True,
            )
        )
        for day, rows in decoded.by_day.items()
    }


def each_by_itself(decoder: Decoder, batch: list[MemoryMessage]):
    rows: dict[date, list[tuple]] = {}
    refused = []
    for message in batch:
        outcome = decoder.decode(message.key(), message.value(), NOW)
        if isinstance(outcome, Record):
            timestamp = message.offset() * 1_000 if message.timestamp()[0] else None
            origin = message.partition(), message.offset(), timestamp
            platform = outcome.key, outcome.schema_id, outcome.extra, len(message.value() or b"")
            rows.setdefault(outcome.day, []).append((*origin, *platform, tuple(outcome.values)))
        else:
            refused.append((message, outcome))
    return rows, refused


def assert_equal(decoders, batch, domain: str = "events") -> None:
    one, many = decoders[domain]
    decoded = many.decode(batch, NOW)
    assert (rows_by_day(decoded), decoded.refused) == each_by_itself(one, batch)
    reasons = {id(message): refusal.reason for message, refusal in decoded.refused}
    assert decoded.reasons == [reasons.get(id(message)) for message in batch]
    assert decoded.size == sum(len(message.value() or b"") for message in batch)


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
def test_a_batch_is_what_each_of_its_messages_is_by_itself(decoders, values):
    assert_equal(decoders, messages(*values))


@pytest.mark.parametrize("value", ODD)
def test_an_odd_message_among_good_ones_is_what_it_is_by_itself(decoders, value):
    assert_equal(decoders, messages(GOOD, value, GOOD))


def test_odd_messages_in_a_full_poll_are_what_they_are_by_themselves(decoders):
    assert_equal(decoders, messages(*[GOOD, OF_ANOTHER_DAY] * 300, *ODD, *[GOOD] * 300))


@pytest.mark.parametrize(
    "values",
    [
        (GOOD[:-1], b"}", GOOD + GOOD),  # as many texts as messages, of other messages
        (b'{"properties":{}', GOOD[1:], GOOD + GOOD),
        (GOOD[:-1] + b',"x":"}', b'{"}', GOOD + GOOD),
        (b'{"a":"' + GOOD[1:], GOOD + b'"}'),
        (GOOD.partition(b'{"query"')[0], b'{"query":"pizza"}}', GOOD + GOOD),
    ],
)
def test_what_is_wrong_in_two_messages_makes_no_right_one(decoders, values):
    assert_equal(decoders, messages(*values))


def test_a_message_without_a_key_and_orders_are_what_they_are_by_themselves(decoders):
    assert_equal(decoders, [*messages(GOOD, GOOD), *messages(GOOD, key=None)])
    later = encoded(ORDER, updated_at="9999-12-31T23:59:59.999999Z")
    for value in (
        encoded(ORDER),
        later,
        encoded(ORDER, items=[]),
        encoded(ORDER, items=None),
        encoded(ORDER, total="x"),
    ):
        assert_equal(decoders, messages(encoded(ORDER), value), "orders")


def test_ordinary_messages_are_not_decoded_one_by_one(decoders, monkeypatch):
    """Framed or not, of several dates, with nested values and times of another offset."""
    _, many = decoders["events"]
    values = [GOOD, OF_ANOTHER_DAY, RICH, encoded(EVENT, city=...)] * CHUNKS_MESSAGES[0]
    monkeypatch.setattr(Decoder, "decode", lambda *_: pytest.fail("one by one"))
    for frame in (b"", WIRE):
        decoded = many.decode(messages(*(frame + value for value in values)), NOW)
        assert sum(map(len, decoded.by_day.values())) == len(values) and len(decoded.by_day) == 2
    monkeypatch.undo()
    decoded = many.decode(messages(*values, b"{"), NOW)
    assert [refusal.reason for _, refusal in decoded.refused] == [RefusalReason.MALFORMED_JSON]


def test_a_sink_writes_files_without_pandas():
    program = """
import sys
from datetime import timedelta
import sink.__main__
from platform_core.clock import SystemClock
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.settings import REPOSITORY, Settings
from platform_core.lake.without_pandas import leave_pandas_out
from sink.bronze.file import PendingFile
from sink.bronze.writer import Writer
from sink.records.buffer import Buffer, SealReason
from sink.records.decoding import Decoder
from tests.rigs.sink.samples import EVENT, NOW, encoded, rows_of
leave_pandas_out()
domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["events"]
record = Decoder(domain, 2_000, timedelta(hours=24)).decode(b"7", encoded(EVENT), NOW)
buffer = Buffer(domain.topic.name, NOW.date(), 0.0)
buffer.add(rows_of((0, 0, record), (0, 1, record)))
file = PendingFile(buffer, SealReason.ROWS)
said, _ = Writer(Lake(Settings(lake_uri="/nowhere")), [domain], SystemClock()).encode(file, "bronze/a.parquet")
assert said.rows == 2
assert "pandas" not in sys.modules, "0.3 CPU s and 45 MB"
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
