"""The partitions of a platform on one machine begin with its first date, and stay there at the next start."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from infra.embedded.commands.first_date import first_date, first_date_of
from platform_assets.definitions import defs
from platform_core.settings import settings

DAY = date(2026, 11, 3)


def test_a_new_platform_begins_with_its_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTITIONS_START_DATE", raising=False)
    assert first_date_of(tmp_path / "history.json", DAY) == {"PARTITIONS_START_DATE": "2026-11-03"}


def test_a_platform_with_a_past_keeps_its_first_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTITIONS_START_DATE", raising=False)
    (tmp_path / "history.json").write_text(json.dumps({"first_day": "2026-10-30", "days": 2}))
    assert first_date_of(tmp_path / "history.json", DAY) == {"PARTITIONS_START_DATE": "2026-10-30"}


def test_a_person_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTITIONS_START_DATE", "2026-01-01")
    assert first_date(DAY) == {"PARTITIONS_START_DATE": "2026-01-01"}


def test_the_graph_begins_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in first_date(DAY).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        nodes = defs().resolve_asset_graph().asset_nodes
    finally:
        settings.cache_clear()
    keys = {node.partitions_def.get_first_partition_key() for node in nodes if node.partitions_def}
    assert keys == {"2026-11-03"}
