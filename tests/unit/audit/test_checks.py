"""What the checks of Silver count in a date's table: keys that occur twice, and values that are not there."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from deltalake.writer.properties import ColumnProperties

from audit.checks import check_silver
from audit.duckdb_tables import DeltaDate
from audit.stages import bronze_to_silver
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from spark_jobs.bronze_to_silver import SilverResult
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake, Row

NO_STATISTICS = WriterProperties(default_column_properties=ColumnProperties(statistics_enabled="NONE"))


@pytest.fixture
def made(tmp_path: Path) -> AuditLake:
    return AuditLake(Settings(lake_uri=str(tmp_path / "lake"))).make(days=1, orders=9)


def facts(made: AuditLake, *more: Any) -> dict[str, tuple[bool, dict[str, Any]]]:
    rows = len(made.silver_rows(FIRST_DAY))
    result = SilverResult(rows, rows, rows, 0, 0, 0, {}, {}, published=True)
    domain = made.domain.model_copy(update={"quality": made.domain.quality.model_copy(update={"source": None})})
    checks = check_silver(made.lake, domain, FIRST_DAY, result, made.meta, "", *more)
    return {check.name: (check.passed, dict(check.facts)) for check in checks}


def test_a_key_that_is_there_twice_is_counted(made: AuditLake) -> None:
    rows = len(made.silver_rows(FIRST_DAY))
    assert facts(made)["unique_key"] == (True, {"rows": rows, "distinct_keys": rows})
    made.write_silver(FIRST_DAY, lambda some: [*some, some[0]])
    assert facts(made)["unique_key"] == (False, {"rows": rows + 1, "distinct_keys": rows})


def test_keys_that_the_audit_has_found_once_are_not_counted_again(
    made: AuditLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file.name for file in made.lake.list_date(made.domain, FIRST_DAY)]
    audited = bronze_to_silver.compare(made.lake, made.domain, FIRST_DAY, files)
    expected = facts(made)
    monkeypatch.setattr(DeltaDate, "rows", None)
    assert facts(made, audited) == expected


def test_a_required_value_that_is_not_there_is_counted(made: AuditLake) -> None:
    def without(some: list[Row]) -> list[Row]:
        return [{**row, "city": None} if number < 2 else row for number, row in enumerate(some)]

    made.write_silver(FIRST_DAY, without)
    assert facts(made)["non_null"] == (False, {"nulls": {"city": 2}})


@pytest.mark.parametrize(
    "properties", [WriterProperties(), NO_STATISTICS], ids=["footers that count", "footers that do not"]
)
@pytest.mark.parametrize("kind", [pa.string(), pa.struct({"of": pa.string()}), pa.list_(pa.int64())], ids=str)
def test_rows_without_a_value_are_counted_by_footer_or_by_reading(
    tmp_path: Path, kind: pa.DataType, properties: WriterProperties
) -> None:
    lake, days = Lake(Settings(lake_uri=str(tmp_path))), [FIRST_DAY, FIRST_DAY, FIRST_DAY, date(2026, 11, 21)]
    value = {"of": None} if pa.types.is_struct(kind) else [] if pa.types.is_list(kind) else ""
    rows = pa.table({"day": days, "v": pa.array([None, value, None, None], kind), "all": ["a", "b", "c", None]})
    write_deltalake(lake.uri("t"), rows, partition_by=["day"], writer_properties=properties)
    assert DeltaDate(lake, "t", "day", FIRST_DAY).nulls(["v", "all"]) == {"v": 2, "all": 0}
