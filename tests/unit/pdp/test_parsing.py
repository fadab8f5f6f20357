"""Times as people type them, and bytes as a terminal may see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pdp import arguments, record_bytes
from pdp.arguments import ArgumentError
from tests.rigs.fake_clock import FakeClock

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("30M", NOW - timedelta(minutes=30)),
        ("1.5 d", NOW - timedelta(hours=36)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T06:30", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
        ("2026-11-20T06:30:00+02:00", datetime(2026, 11, 20, 4, 30, tzinfo=UTC)),
        ("2026-11-20T06:30Z", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 23, tzinfo=UTC)),
    ],
)
def test_a_time_is_iso_or_how_long_ago(text: str, expected: datetime) -> None:
    found = arguments.moment(text, FakeClock(NOW))
    assert (found, found.utcoffset()) == (expected, timedelta(0))


@pytest.mark.parametrize("text", ["", "soon", "2x", "2026-13-01", "99999999999w", "-1h", "0001-01-01T00:00+23:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentError, match="2026-11-24T12:00"):
        arguments.moment(text, FakeClock(NOW))


def test_a_range_of_thousands_of_years_is_refused_before_a_line_is_made_of_each_date() -> None:
    assert arguments.date_range("2024-01-01", "2123-12-30").first
    for first, last in (("0001-01-01", "8000-12-31"), ("2026-11-24", "2026-11-23")):
        with pytest.raises(ArgumentError, match=r"Choose a shorter range|The range is reversed"):
            arguments.date_range(first, last)


def test_nothing_of_a_record_steers_a_terminal() -> None:
    value = '{"name": "\x1b[2J\x9b\u202e\u00fc"}'.encode()
    for shown in (record_bytes.value_text(value.replace(b"\x1b", b"\\u001b")), record_bytes.value_text(value + b"x")):
        assert "ü" in shown
        assert not any(not c.isprintable() and c != "\n" for c in shown)


def test_a_long_key_is_cut() -> None:
    key, headers, *_ = record_bytes.record_lines(b"k" * 900_000, [("a\x1b", b"\x07\n")], "null")
    assert len(key) < record_bytes.KEY_SHOWN + 40 and key.plain.endswith("… (900,000 bytes)")
    assert headers.plain == r"  headers a\x1b=\x07\n"


def test_a_value_is_json_text_or_digits_and_cut() -> None:
    assert record_bytes.value_document(None) == {"bytes": None, "schema_id": None, "json": None}
    framed = b"\x00\x00\x00\x01\x00[1]"
    assert record_bytes.value_document(framed) == {"bytes": 8, "schema_id": 256, "json": [1]}
    assert record_bytes.value_document(b"[1") == {"bytes": 2, "schema_id": None, "text": "[1", "truncated": False}
    assert record_bytes.value_document(b"\x00\xff")["hex"] == "00ff"
    large = record_bytes.value_document(b"\xff" * 10_000)
    assert (len(large["hex"]), large["truncated"]) == (2 * record_bytes.UNDECODED_SHOWN, True)
    cut = record_bytes.value_text(b'"' + b"x" * 10_000 + b'"')
    assert len(cut) < record_bytes.VALUE_SHOWN + 30 and cut.endswith("… (10,002 bytes)")
    assert record_bytes.value_text(b"[" * 100_000).startswith("[[[")
