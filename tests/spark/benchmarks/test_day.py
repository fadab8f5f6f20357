"""The peers of the case `day` do the very same work as the platform's jobs, and a difference is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from benchmarks.day import case as day
from benchmarks.day.equality import TABLES, differences
from benchmarks.frame import compete


def test_the_peers_tables_equal_those_of_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day, "WARM_UPS", 0)
    with day.prepared(tmp_path / "data", 12_000, engines=["sail"], seconds_a_file=3600) as case:
        assert [each.name for each in case.contestants] == ["DuckDB", "Polars", "Sail"]
        assert len(list(compete(case, 1, tmp_path / "rounds", report=lambda _: None))) == 1
    peer, ours = (tmp_path / "rounds" / "round-0" / name / "lake" for name in ("DuckDB", "Sail"))
    rows = {name: DeltaTable(ours / name).count() for name in TABLES}
    assert rows["silver/events"] + rows["silver/events_quarantine"] == 12_000
    assert rows["silver/events_quarantine"] > 0

    DeltaTable(peer / "gold/events_funnel").update({"sessions": "sessions + 1"})
    [difference] = differences(peer, ours, day.DAY)
    assert difference.startswith("gold/events_funnel differs in sessions;")
    DeltaTable(peer / "silver/events_quarantine").delete()
    assert len(differences(peer, ours, day.DAY)) == 2
