"""The path of refusals is total: whatever a record's key, value and headers are, its dead letter is written."""

from __future__ import annotations

import pytest

from tests.rigs.sink.loop import BAD
from tests.rigs.sink.samples import EVENT, encoded


def refused(rig, value=BAD, **record):
    """The key, the value and the headers of the dead letter of a bad record."""
    offset = rig.broker.append("raw-events", value, **record)
    for _ in range(4):
        rig.step()
    ((key, value, headers),) = rig.publisher.records["dlq-raw-events"]
    assert rig.committed[0] == offset + 1
    return key, value, dict(headers)


@pytest.mark.parametrize(
    "error",
    [
        SystemError("<method 'headers' of 'cimpl.Message' objects> returned a result with an exception set"),
        UnicodeDecodeError("utf-8", b"x\xff\xfe", 1, 2, "invalid start byte"),
    ],
)
def test_headers_that_the_client_cannot_read_are_left_out(rig, error):
    key, value, headers = refused(rig, headers=error)
    assert (key, value, headers["dlq.headers_omitted"]) == (b"1", BAD, b"unreadable")
    assert headers["dlq.offset"] == b"0" and headers["dlq.attempt"] == b"1"


def test_a_good_record_with_headers_that_the_client_cannot_read_is_a_row(rig):
    rig.broker.append("raw-events", encoded(EVENT), headers=SystemError("no UTF-8"))
    rig.step()
    rig.step(seconds=60)
    assert rig.store.offsets() == [(0, 0)]


@pytest.mark.parametrize("attempt", [b"9" * 5_000, b"9" * 4_300, b"-1", b"\xff", b"", None, str(2**63).encode()])
def test_an_attempt_that_is_no_number_of_kafka_counts_as_none(rig, attempt):
    assert refused(rig, headers=[("dlq.attempt", attempt)])[2]["dlq.attempt"] == b"1"


def test_what_a_topic_does_not_take_is_left_out_bit_by_bit(rig):
    own = [(f"trace-{number}", b"x" * 100) for number in range(10_000)]
    rig.publisher.largest = 2_000
    key, value, headers = refused(rig, b"{" * 100_000, key=b"k" * 100_000, headers=own)
    assert (key, value) == (None, None)
    omitted = {name: text for name, text in headers.items() if "omitted" in name}
    assert omitted == {
        "dlq.value_omitted_bytes": b"100000",
        "dlq.headers_omitted": b"10000",
        "dlq.key_omitted_bytes": b"100000",
    }
    assert headers["dlq.topic"] == b"raw-events" and headers["dlq.offset"] == b"0"


def test_no_more_is_left_out_than_must_be(rig):
    rig.publisher.largest = 2_000
    key, value, headers = refused(rig, b"{" * 100_000, headers=[("trace", b"x")])
    assert (key, value, headers["trace"]) == (b"1", None, b"x")


def test_headers_count_for_the_memory_of_the_rows(make_rig):
    rig = make_rig(sink_max_buffered_bytes=100_000).start()
    rig.publisher.confirming = False
    rig.broker.append("raw-events", BAD, headers=[("h", b"")] * 1_000)
    rig.step()
    assert rig.broker.paused
