"""The cursor of a sensor that reports checks: what it reads again, and what it takes for none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from platform_assets.sensors.last_reported import LastReported

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", [None, "", "{}", "no json", "[]", '{"orders": 1}', '{"orders": ["", "x"]}', '{"states": {"a": 1}}']
)
def test_a_cursor_that_cannot_be_read_is_as_good_as_none(text: str | None) -> None:
    assert LastReported.from_json(text) == LastReported()


@pytest.mark.parametrize(
    "reported",
    [
        LastReported({"bronze/orders:no_offset_gap": ("failed 2@100-119:True", NOW)}),
        LastReported({"snowflake/orders:fresh": ("passed", NOW)}, NOW, {0: 7}, lake_seen=True),
    ],
)
def test_a_cursor_is_read_as_it_was_written(reported: LastReported) -> None:
    assert LastReported.from_json(reported.to_json()) == reported
