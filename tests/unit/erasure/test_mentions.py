"""Free text of other people's rows that names a person."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from erasure.mentions import mentions
from erasure.subject import holders
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.lake.mount import open_lake
from tests.rigs.settings_of import settings_of

DAY = date(2026, 11, 1)


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    lake = Lake(settings_of({"LAKE_URI": str(tmp_path / "lake")}))
    open_lake(lake, lambda: False)
    rows_of: dict[str, list[dict[str, Any]]] = {
        "events": [
            {"user_id": 7, "properties": '{"query": "jane roe"}'},
            {"user_id": 8, "properties": '{"query": "Gift for JANE ROE"}'},
            {"user_id": 9, "properties": '{"query": "soup"}', "_extra": '{"note": "call +49 30 1"}'},
        ],
        "orders": [{"user_id": 8, "items": '[{"name": "For Jane Roe"}]'}, {"user_id": 8, "city": None}],
        "restaurants": [{"name": "Jane Roe's"}],
    }
    for name, rows in rows_of.items():
        domain = catalog[name]
        folder = Path(lake.path(lake.bronze_partition(domain, DAY)))
        folder.mkdir(parents=True)
        placed = [
            {"_topic": domain.topic.name, "_partition": 0, "_offset": offset, **row} for offset, row in enumerate(rows)
        ]
        schema = pa.schema([field.with_nullable(True) for field in bronze_schema(domain.contract)])
        pq.write_table(pa.Table.from_pylist(placed, schema=schema), folder / "part-a.parquet")
    return lake


def test_other_peoples_rows_that_name_the_person_are_listed_without_the_words(lake: Lake, catalog: Catalog) -> None:
    words = ["Jane Roe", "+49 30 1"]
    found = mentions(lake, catalog, holders(catalog, "user", "7"), words)
    assert [(each.domain, each.day, each.column, each.rows, each.first) for each in found] == [
        ("events", DAY, "properties", 1, "raw-events:0:1"),
        ("events", DAY, "_extra", 1, "raw-events:0:2"),
        ("orders", DAY, "items", 1, "raw-orders:0:0"),
        ("restaurants", DAY, "name", 1, "raw-restaurants:0:0"),
    ]
    assert not any(word.lower() in str(each).lower() for each in found for word in words)


def test_no_words_name_nobody(lake: Lake, catalog: Catalog) -> None:
    assert mentions(lake, catalog, holders(catalog, "user", "7"), []) == []


def test_a_disk_that_is_not_mounted_names_nobody_and_is_no_proof(lake: Lake, catalog: Catalog) -> None:
    Path(lake.root).rename(f"{lake.root}.unmounted")
    lake.prepare()
    with pytest.raises(TransientError, match="not mounted"):
        mentions(lake, catalog, holders(catalog, "user", "7"), ["Jane Roe"])
