"""The rows of odd keys come to this process unless they turn out large there; of no odd key nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.connect.client import SparkConnectClient

from platform_core.domain.catalog import Catalog
from spark_jobs import steps
from spark_jobs.judging.odd_keys import FEW_BYTES, counted
from tests.spark.conftest import Engine

ROWS, TEXT_BYTES = 18_000, 8_000
"""144 MB of all rows as Arrow, which Sail sends in one message and a client does not take; kilobytes of a file."""


def test_few_rows_that_are_large_but_in_files_are_judged_by_the_engine(
    engines: dict[str, Engine], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[int] = []
    answers = SparkConnectClient._execute_and_fetch_as_iterator

    def noted(*arguments: Any, **named: Any) -> Iterator[Any]:
        for part in answers(*arguments, **named):
            came.append(part.nbytes if isinstance(part, pa.RecordBatch) else 0)
            yield part

    monkeypatch.setattr(SparkConnectClient, "_execute_and_fetch_as_iterator", noted)
    versions = (
        engines["sail"]
        .spark.range(ROWS)
        .selectExpr(
            f"id % {ROWS // 2} as order_id",
            "'raw-orders' as _topic",
            "0 as _partition",
            "id as _offset",
            "timestamp_micros(id) as _kafka_timestamp",
            f"if(id = 7, 'no_city: it has none', '') as {steps.REASON}",
            f"'' as {steps.WARNINGS}",
            f"cast(id as string) as {steps.RECORD_HASH}",
            f"repeat('x', {TEXT_BYTES}) as text",
        )
    )
    lines, divided = counted(versions, catalog["orders"].silver, [], row_bytes=30)
    assert divided.plain is None
    assert {line["rule"]: line["rows"] for line in lines} == {"": ROWS - 1, "no_city": 1}
    assert sum(came) <= FEW_BYTES + max(came), "no message came after the one that was too much"


def test_of_rows_without_an_odd_key_nothing_is_asked_again(engines: dict[str, Engine], catalog: Catalog) -> None:
    versions = (
        engines["sail"]
        .spark.range(10)
        .selectExpr(
            "id as order_id",
            "'raw-orders' as _topic",
            "0 as _partition",
            "id as _offset",
            "timestamp_micros(id) as _kafka_timestamp",
            f"'' as {steps.REASON}",
            f"'' as {steps.WARNINGS}",
            f"cast(id as string) as {steps.RECORD_HASH}",
        )
    )
    _, divided = counted(versions, catalog["orders"].silver, [], row_bytes=30)
    assert divided.silver(catalog["orders"].silver) is versions
