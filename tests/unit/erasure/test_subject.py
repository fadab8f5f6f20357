"""Whose record is it: by column, by key, and in bytes that no contract accepts."""

from __future__ import annotations

import pytest

from erasure.subject import holders
from platform_core.domain.catalog import Catalog
from platform_core.errors import PermanentError


@pytest.mark.parametrize(
    ("key", "value", "theirs"),
    [
        (b"7", None, True),
        (b"7", b"\xff broken", True),
        (b"70", b'{"user_id": 7, "name": "x"}', True),
        (None, b'{"user_id":7}', True),
        (None, b'{"user_id":"7","name":', True),
        (None, b'{"user_id":70}', False),
        (None, b'{"user_id":17}', False),
        (None, b'{"other_user_id":7}', False),
        (None, b'{"order_id":7,"user_id":8}', False),
        (b"8", b"{}", False),
    ],
)
def test_a_record_names_its_person(catalog: Catalog, key: bytes | None, value: bytes | None, theirs: bool) -> None:
    [holder] = [each for each in holders(catalog, "user", "7") if each.domain.name == "users"]
    assert holder.names(key, value) is theirs


def test_an_order_is_not_its_user_s_by_its_key(catalog: Catalog) -> None:
    [holder] = [each for each in holders(catalog, "user", "7") if each.domain.name == "orders"]
    assert holder.names(b"7", b'{"order_id":7,"user_id":8}') is False


@pytest.mark.parametrize("identifier", ["", "seven", "7 or 1=1", "9" * 30])
def test_an_identifier_that_cannot_be_one_is_refused_without_showing_it(catalog: Catalog, identifier: str) -> None:
    with pytest.raises(PermanentError) as refused:
        holders(catalog, "user", identifier)
    assert not identifier or identifier not in str(refused.value)


def test_a_kind_that_nobody_declares_is_refused_with_those_that_are(catalog: Catalog) -> None:
    with pytest.raises(PermanentError, match="`user`"):
        holders(catalog, "courier", "1")
