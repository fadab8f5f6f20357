"""Addresses are masked in every form in which a layer may have them."""

from __future__ import annotations

import json

import pytest

from audit.masking import masked, masked_text, without_values


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("email", "ada.roe@example.com", "a***@example.com"),
        ("E-Mail", "a@b@c.example", "a***@c.example"),
        ("mail", '"ada.roe@home"@example.com', '"***@example.com'),
        ("email_masked", "a***@example.com", "a***@example.com"),
        ("note", "of ada.roe@example.com, bob@x.example", "of a***@example.com, b***@x.example"),
        ("_extra", '{"contact":"ada.roe@example.com"}', '{"contact":"a***@example.com"}'),
        ("items", [{"email": "ada@example.com"}, 5, None], [{"email": "a***@example.com"}, 5, None]),
        ("city", "Oslo", "Oslo"),
    ],
)
def test_an_address_keeps_its_first_letter_and_what_is_behind_the_last_at(name, value, shown):
    assert masked(name, value) == shown


def test_a_text_is_masked_by_its_keys_and_one_that_is_no_json_by_its_form():
    document = {"contact": {"E-Mail": "ada@roe@example.com"}, "tags": ["bob.roe@example.com"]}
    assert json.loads(masked_text(json.dumps(document))) == {
        "contact": {"E-Mail": "a***@example.com"},
        "tags": ["b***@example.com"],
    }
    assert "roe@" not in masked("value", masked_text('{"email": "ada.roe@example.com", broken'))


def test_a_long_value_costs_no_more_than_its_length():
    assert masked("value", "@" + "x" * 2_000_000).startswith("***@x")


def test_an_engines_error_keeps_no_value():
    error = ValueError("Could not convert string 'ada.roe@example.com' to INT64\nat row \"ada\"")
    assert without_values(error) == "Could not convert string '…' to INT64"
    assert without_values(OSError()) == "OSError"
