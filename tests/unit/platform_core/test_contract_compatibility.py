"""The rules of FULL_TRANSITIVE, change by change and over a chain of versions."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest

from platform_core.domain.contract_compatibility import added_fields, breaches
from tests.rigs.contract_changes import ADDED, BASE, CHANGES, UNION, Change, users_version


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_is_judged_and_its_field_named(change: Change) -> None:
    found = breaches(BASE, change.schema)
    assert [breach.field for breach in found] == ([change.field] if change.field else [])
    assert all(change.word in breach.reason for breach in found)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_the_way_back_has_the_same_verdict(change: Change) -> None:
    assert {b.field for b in breaches(change.schema, BASE)} == {b.field for b in breaches(BASE, change.schema)}


def test_each_version_of_a_chain_reads_each_other() -> None:
    chain = [users_version(number) for number in ADDED]
    assert [added_fields(old, new) for old, new in pairwise(chain)] == [[ADDED[number]] for number in (2, 3, 4)]
    assert all(breaches(old, new) == [] for old, new in permutations(chain, 2))


def test_every_breach_is_told_at_once() -> None:
    schema = users_version(1)
    schema["properties"] |= {"tier": {"type": "integer"}, "phone": {"type": "string"}, "nickname": UNION}
    schema["required"] = [*schema["required"], "phone"]
    assert [breach.field for breach in breaches(users_version(1), schema)] == ["tier", "phone"]


def test_a_nested_name_that_becomes_required_without_a_property_is_a_breach() -> None:
    line = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    old = {"properties": {"items": {"type": "array", "items": line}}}
    new = {"properties": {"items": {"type": "array", "items": {**line, "required": ["id", "sku"]}}}}
    assert [str(breach) for breach in breaches(old, new)] == ["`items[].sku` became required"]
    assert [str(breach) for breach in breaches(new, old)] == ["`items[].sku` became optional"]
