"""A fact in the UI: numbers that it plots, tables and text that a person reads, never JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from platform_assets.assets.metadata import shown


@pytest.mark.parametrize(
    ("fact", "kind", "value"),
    [
        (7, dg.IntMetadataValue, 7),
        (0.25, dg.FloatMetadataValue, 0.25),
        (Decimal("12.50"), dg.FloatMetadataValue, 12.5),
        (True, dg.TextMetadataValue, "yes"),
        (None, dg.TextMetadataValue, "none"),
        ("Gold 1, Silver 2", dg.TextMetadataValue, "Gold 1, Silver 2"),
        ([], dg.TextMetadataValue, "none"),
        ({}, dg.TextMetadataValue, "none"),
        ([0.5, 2.0], dg.TextMetadataValue, "0.5, 2.0"),
    ],
)
def test_a_value_is_a_number_or_text(fact: Any, kind: type[dg.MetadataValue[Any]], value: Any) -> None:
    found = shown(fact)
    assert isinstance(found, kind)
    assert found.value == value


@pytest.mark.parametrize(
    ("fact", "columns", "rows"),
    [
        ({"not_oslo": 6}, {"name": "string", "value": "int"}, [{"name": "not_oslo", "value": 6}]),
        (
            {"a": {"rows": 1, "x": Decimal("2.50")}, "b": {"rows": 3, "x": None}},
            {"name": "string", "rows": "int", "x": "string"},
            [{"name": "a", "rows": 1, "x": "2.50"}, {"name": "b", "rows": 3, "x": ""}],
        ),
        (
            [{"kind": "lost", "keys": ["1", "2"]}, {"kind": "phantom"}],
            {"kind": "string", "keys": "string"},
            [{"kind": "lost", "keys": "1, 2"}, {"kind": "phantom", "keys": ""}],
        ),
    ],
)
def test_a_value_with_parts_is_a_table(fact: Any, columns: dict[str, str], rows: list[dict[str, Any]]) -> None:
    found = shown(fact)
    assert isinstance(found, dg.TableMetadataValue)
    assert {column.name: column.type for column in found.schema.columns} == columns
    assert [record.data for record in found.records] == rows
