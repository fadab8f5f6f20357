"""What of a record may be shown: no address in full, wherever it is."""

from __future__ import annotations

import json

import pytest

from audit.addresses import without_addresses


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("jane.roe@example.com", "j***@example.com"),
        ("a@b@c.example", "a***@c.example"),
        ('"jane.roe@home"@example.com', '"***@example.com'),
        ('"jane roe"@example.com', '"***@example.com'),
        ("j***@example.com", "j***@example.com"),
        ("write to jane@x.org or joe@y.org", "write to j***@x.org or j***@y.org"),
        ("no address", "no address"),
        (17, 17),
    ],
)
def test_an_address_keeps_its_first_character_and_its_domain(value: object, shown: object) -> None:
    assert without_addresses(value) == shown


def test_an_address_is_found_under_every_name_and_in_every_depth() -> None:
    hidden = {"contact": ["jane@x.org"], "note": {"to": "jane@x.org"}, "_extra": json.dumps({"mail": "jane@x.org"})}
    assert "jane" not in json.dumps(without_addresses(hidden))
    assert "jane" not in without_addresses(json.dumps(hidden))
    assert "jane" not in without_addresses('{"broken": "jane@x.org", ')


def test_a_large_value_costs_no_more_than_its_length() -> None:
    text = "@" + "x" * 1_000_000
    assert without_addresses(text) == text
