"""What a demonstration names exists: domains, Gold tables, options of `late`, columns of Bronze."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY
from simulation.cli import main
from simulation.demonstration import LATE_CHANGES, TOTALS, WARM_UP_DOMAIN, warm_up_rows
from simulation.world import SOURCES

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
DAY = date(2026, 3, 1)


def test_the_town_is_the_source_of_every_domain() -> None:
    assert [domain.name for domain in CATALOG.with_source] == list(SOURCES)
    assert all(total.table in CATALOG[total.domain].gold.tables for total in TOTALS)


def test_what_is_late_are_options_of_late(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["late", "--help"])
    options = capsys.readouterr().out
    assert set(LATE_CHANGES) <= set(SOURCES) and all(f"--{name} " in options for name in LATE_CHANGES)


def test_rows_to_warm_up_with_are_bronze() -> None:
    schema = bronze_schema(CATALOG[WARM_UP_DOMAIN].contract)
    rows = warm_up_rows(CATALOG[WARM_UP_DOMAIN], DAY, 3)
    assert all(set(row) <= set(schema.names) for row in rows)
    table = pa.Table.from_pylist(rows, schema=schema)
    required = [column.name for column in CATALOG[WARM_UP_DOMAIN].contract.columns if not column.nullable]
    assert [name for name in required if table.column(name).null_count] == []
