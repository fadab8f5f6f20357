"""Ways to break the stages from Bronze to the warehouse on purpose, for tests of what would notice."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pyspark.sql import functions as F

from audit.report import Stage, StageResult
from platform_core.lake.lake import Lake
from processing import one_date
from spark_jobs import bronze_to_silver
from spark_jobs.writing import tables
from tests.rigs.lake.bronze_days import DAY


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the platform's own checks of a date, so that only the audit and the comparison are left."""
    monkeypatch.setattr(one_date, "check_silver", lambda *_: [])
    monkeypatch.setattr(one_date, "compare_gold", lambda *_: StageResult(Stage.GOLD, "orders", DAY))
    monkeypatch.setattr(one_date.Processor, "_refuse_other_rows", lambda *_: None)
    monkeypatch.setattr(bronze_to_silver, "_refuse_other_count", lambda *_: None)


def appended(df: Any, lake: Lake, name: str, partition_column: str, day: date, *, few: bool = False) -> int:
    dated = df.drop(partition_column).withColumn(partition_column, F.lit(day))
    tables.prepare(lake, name, dated.schema.json(), partition_column)
    tables.aligned(dated, lake, name).write.format("delta").mode("append").partitionBy(partition_column).save(
        lake.spark_uri(name)
    )
    return 0
