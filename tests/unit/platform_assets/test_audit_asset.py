"""The audit as a run: what it fails with, and what the alert about it says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from alerting.collect import run_alerts
from audit import what_changed
from audit.report import AuditReport, Equation, Kind, Problem, Stage, StageResult
from platform_assets.assets.audit import audit_asset
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.failed_runs import failed_runs
from platform_core.domain.catalog import Catalog
from platform_core.settings import Settings
from platform_kafka.offset_ranges import OffsetRanges
from tests.rigs.platform_environment import environment

DAY = date(2026, 11, 20)
LOST = Problem(
    Stage.BRONZE, "orders", None, Kind.LOST, 3, topic="raw-orders", offsets={0: OffsetRanges.of((5, 7))}
)  # fmt: skip
UNEVEN = StageResult(Stage.SILVER, "users", DAY, equations=(Equation("bronze rows", 3, {"silver": 2}),))
OUT = StageResult(Stage.WAREHOUSE, "users", not_checked="The warehouse did not answer.")
FINE = StageResult(Stage.SILVER, "orders", DAY, equations=(Equation("bronze rows", 2, {"silver": 2}),))


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ((FINE, OUT), ""),
        (
            (StageResult(Stage.BRONZE, "orders", problems=(LOST,)), UNEVEN, FINE),
            "cannot explain 3 lost of `orders`, kafka → bronze: raw-orders:0:5-7, and 1 problem more. `pdp audit`",
        ),
        (
            (UNEVEN,),
            "cannot explain counts of `users` 2026-11-20, bronze → silver: bronze rows 3 ≠ silver 2. `pdp audit`",
        ),
    ],
    ids=["unchecked", "problem", "counts"],
)
def test_a_run_fails_by_what_nothing_explains_and_its_alert_names_it(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: tuple[StageResult, ...], sentence: str
) -> None:
    monkeypatch.setattr(what_changed, "audit_what_changed", lambda *_, **__: AuditReport(results))
    with environment({"LAKE_URI": str(tmp_path)}), dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [audit_asset(catalog, Settings())],
            instance=instance,
            resources={"metadata_store": MetadataStore()},
            raise_on_error=False,
        )
        runs = failed_runs(instance, catalog, datetime.now(UTC) - timedelta(hours=1))
    assert done.success is not bool(sentence)
    alerts = run_alerts(runs, [], "http://ui")
    assert len(alerts) == bool(sentence)
    assert all(sentence in alert.what for alert in alerts)
