"""The forms that several programs write and read: value, dead-letter headers, ledger record, Bronze footer."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from platform_kafka.formats import dead_letter_headers
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.formats.wire_format import encode_value, schema_id_of, unframe
from platform_kafka.offset_ranges import OffsetRanges

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OFFSETS = {0: OffsetRanges.of((1, 3), (7, 7)), 5: OffsetRanges.of((0, 0))}


def test_a_framed_value_has_a_schema_id_and_a_document() -> None:
    assert encode_value({"a": 1}, 70_000) == b'\x00\x00\x01\x11\x70{"a":1}'
    assert unframe(encode_value({"a": 1}, 70_000)) == (70_000, b'{"a":1}')


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x00\x00\x00\x00\x00{}", b"\x00\xff\xff\xff\xff{}", b"{}   "]
)
def test_a_value_without_a_magic_byte_and_a_schema_id_above_0_is_not_framed(value: bytes) -> None:
    assert schema_id_of(value) is None
    assert unframe(value) == (None, value)


def test_dead_letter_headers_come_back_as_they_were_written() -> None:
    headers = dead_letter_headers.write(
        topic="raw-users", partition=3, offset=9, timestamp=NOW, error_class="too_large", error="x" * 5000, schema_id=3
    )
    assert dict(headers) == {
        "dlq.topic": b"raw-users",
        "dlq.partition": b"3",
        "dlq.offset": b"9",
        "dlq.timestamp": b"2026-03-10T12:00:00+00:00",
        "dlq.error_class": b"too_large",
        "dlq.error": b"x" * 1000,
        "dlq.schema_id": b"3",
        "dlq.attempt": b"1",
    }
    expected = DeadLetterHeaders("raw-users", 3, 9, NOW.isoformat(), "too_large", "x" * 1000, 3, 1)
    assert DeadLetterHeaders.parse([("trace", b"1"), *headers]) == expected
    assert expected.source == ("raw-users", 3, 9)


def test_a_record_that_its_producer_refused_was_in_no_topic() -> None:
    headers = dead_letter_headers.write(topic="raw-users", timestamp=None, error_class="x", error="y", schema_id=None)
    facts = dict(headers)
    assert (facts["dlq.partition"], facts["dlq.offset"]) == (b"-1", b"-1")
    assert (facts["dlq.timestamp"], facts["dlq.schema_id"]) == (b"", b"")
    assert DeadLetterHeaders.parse(headers).source is None


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        [("dlq.topic", b"raw"), ("dlq.partition", b"0")],
        [("dlq.topic", None), ("dlq.partition", b"0"), ("dlq.offset", b"0")],
        [("dlq.topic", b"raw"), ("dlq.partition", b"zero"), ("dlq.offset", b"0")],
        [("dlq.topic", b"raw"), ("dlq.partition", b"0"), ("dlq.offset", b"\xff")],
    ],
)
def test_headers_that_do_not_say_where_the_record_was_name_no_source(headers: list[tuple[str, bytes | None]]) -> None:
    assert DeadLetterHeaders.parse(headers).source is None


def test_a_dead_letter_that_is_sent_back_counts_its_attempts_and_loses_only_the_note_of_its_value() -> None:
    written = dead_letter_headers.write(topic="t", timestamp=NOW, error_class="x", error="y", schema_id=1, attempt=2)
    omitted = dead_letter_headers.without("value", 7, [("trace", None), *written])
    assert DeadLetterHeaders.parse(omitted).omitted_bytes == 7
    assert dead_letter_headers.on_the_way_back(omitted) == [("trace", None), *written]
    assert dead_letter_headers.own_headers(omitted) == [("trace", None)]
    assert dead_letter_headers.on_the_way_back([]) == [("dlq.attempt", b"1")]


@pytest.mark.parametrize("recovered", [False, True])
def test_a_ledger_record_comes_back_as_it_was_written(recovered: bool) -> None:
    record = LedgerRecord("users", "raw-users", date(2026, 3, 10), "a/b.parquet", 4, 99, OFFSETS, NOW, recovered)
    assert LedgerRecord.from_json(record.to_json()) == record
    assert record.key == b"users/2026-03-10"
    assert (b"recovered" in record.to_json()) is recovered


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b"{}", b"\xff"])
def test_what_is_no_ledger_record_is_refused(value: bytes | None) -> None:
    with pytest.raises(ValueError):
        LedgerRecord.from_json(value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2026-03-10", b"2026-13-10"),
        (b'"rows":4', b'"rows":null'),
        (b"[7,7]", b"[7]"),
        (b":4,", b":Infinity,"),
        (b'"offsets"', b'"x"'),
    ],
)
def test_a_ledger_record_with_a_broken_field_is_refused(old: bytes, new: bytes) -> None:
    value = LedgerRecord("users", "raw-users", date(2026, 3, 10), "a", 4, 99, OFFSETS, NOW).to_json()
    assert old in value
    with pytest.raises(ValueError):
        LedgerRecord.from_json(value.replace(old, new))


def test_a_footer_comes_back_as_it_was_written() -> None:
    footer = BronzeFooter("users", "raw-users", OFFSETS)
    assert footer.to_metadata()[b"pdp.offsets"] == b'{"raw-users": {"0": [[1, 3], [7, 7]], "5": [[0, 0]]}}'
    assert BronzeFooter.from_metadata(footer.to_metadata()) == footer
    assert footer.by_topic_partition == {("raw-users", 0): OFFSETS[0], ("raw-users", 5): OFFSETS[5]}


def test_a_footer_knows_its_file_wherever_the_lake_is() -> None:
    path = "bronze/users/snapshot_date=2026-11-01/part-a.parquet"
    footer = BronzeFooter("users", "raw-users", OFFSETS)
    assert footer.is_of(path), "written before footers named their file"
    named = BronzeFooter.from_metadata(footer.named(path).to_metadata())
    assert named is not None and named.file == "snapshot_date=2026-11-01/part-a.parquet"
    assert named.is_of(path) and named.is_of(f"moved/{path}")
    assert not named.is_of(path.replace("part-a", "part-b"))
    assert not named.is_of(path.replace("11-01", "11-02"))


def test_a_file_without_a_footer_has_none_and_a_broken_footer_is_refused() -> None:
    assert BronzeFooter.from_metadata(None) is None
    assert BronzeFooter.from_metadata({b"pandas": b"{}"}) is None
    for broken in (b"", b"[]", b"{}", b'{"a": {}, "b": {}}', b'{"a": []}', b'{"a": {"0": [1]}}'):
        with pytest.raises(ValueError):
            BronzeFooter.from_metadata({b"pdp.domain": b"users", b"pdp.offsets": broken})
