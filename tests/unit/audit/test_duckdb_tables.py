"""Times that DuckDB has and Python has not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit.duckdb_tables import fetch, python_time
from platform_core.lake.duckdb_memory import database

LAST = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9999-12-31 23:59:59.999999+00", LAST),
        ("10000-01-01 00:00:00+00", None),
        ("0001-01-01 00:00:00+00", datetime.min.replace(tzinfo=UTC)),
        ("0044-03-15 (BC) 00:00:00+00", None),
        ("infinity", None),
    ],
)
def test_every_time_that_python_has_is_one(text: str, value: datetime | None) -> None:
    with database() as connection:
        [[found]] = fetch(connection, f"select {python_time('t')} from (select timestamptz '{text}' as t)")
    assert found == value
