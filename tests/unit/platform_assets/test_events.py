"""What Dagster is told of a date: a table that cannot be looked at costs its description, never the date."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from platform_assets.assets.events import Report
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_state import State
from platform_core.settings import Settings
from processing.claim import Claimed
from processing.one_date import SilverDone
from spark_jobs.bronze_to_silver import SilverResult

DAY = date(2026, 11, 20)


def test_what_cannot_be_shown_stops_no_date(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(lake_uri=str(tmp_path))
    silver = SilverResult(1, 1, 1, 0, 0, 0, {}, {}, published=True)
    with dg.DagsterInstance.ephemeral() as instance:
        events = load_catalog(settings.domains_file)["events"]
        report = Report(instance, logging.getLogger("run"), events, Lake(settings), {})
        assert len(list(report.events(Claimed(DAY, (), "fingerprint", State.PENDING, None)))) == 2
        assert list(report.events(SilverDone(DAY, silver, []))) == [], "the table that was written cannot be read"
        report.raise_failures()
    assert "SilverDone could not be shown in the catalog" in caplog.text
