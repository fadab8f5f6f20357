"""The daemon's metrics: what is made of partition states, coverage, audits and dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.core import Metric

from audit import last_audit
from audit.offset_coverage.coverage import CoverageReport, DomainCoverage
from audit.offset_coverage.state import Gap
from audit.report import AuditReport, Equation, Kind, Problem, Stage, StageResult
from platform_assets.metrics import families
from platform_assets.metrics.exporter import PlatformMetrics
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, Settings

CATALOG = load_catalog(REPOSITORY / "domains" / "domains.yaml")
NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)


def values(metrics: Iterable[Metric]) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        sample.name: {tuple(s.labels.values()): s.value for s in metric.samples if s.name == sample.name}
        for metric in metrics
        for sample in metric.samples
    }


def row(day: str, state: State, *, domain: str = "orders", processed: bool = False) -> Partition:
    made = NOW - timedelta(days=9)
    at = NOW - timedelta(hours=1) if processed else None
    return Partition(domain, date.fromisoformat(day), state, created_at=made, updated_at=made, processed_at=at)


def report(*results: StageResult) -> AuditReport:
    return AuditReport(results)


def test_the_documentation_has_every_metric_and_its_labels() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| (`pdp_[^|]*) \|([^|]*)\|", text, re.M)
    documented = {
        name: tuple(re.findall(r"\w+", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)
    }
    assert {name: labels for name, (labels, _) in families.METRICS.items()} == {
        name: documented.get(name) for name in families.METRICS
    }


def test_dates_are_counted_by_state_and_a_domain_without_any_has_zeros() -> None:
    rows = [row("2026-11-18", State.DONE, processed=True), row("2026-11-19", State.DEAD), row("2026-11-20", State.DEAD)]
    found = values(families.of_partitions(CATALOG, [*rows, row("2026-11-20", State.LATE, domain="gone")], NOW))
    counts = found["pdp_partitions"]
    assert (counts["orders", "DEAD"], counts["orders", "DONE"], counts["orders", "LATE"]) == (2, 1, 0)
    assert (counts["users", "DEAD"], counts["gone", "LATE"]) == (0, 1)
    assert {state for _, state in counts} == {state.value for state in State} - {"UNDISCOVERED"}


def test_freshness_is_how_late_the_due_date_is_and_when_the_newest_done_one_ended() -> None:
    rows = [row("2026-11-19", State.DONE, processed=True), row("2026-11-20", State.IN_FLIGHT)]
    found = values(families.of_partitions(CATALOG, rows, NOW))
    assert found["pdp_delivery_late_seconds"]["orders",] == 30 * 60  # due at 06:30 UTC
    assert found["pdp_delivery_late_seconds"]["users",] == 0
    ended = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    assert found["pdp_newest_done_date_timestamp_seconds"] == {("orders",): ended}
    assert found["pdp_last_load_timestamp_seconds"] == {("orders",): NOW.timestamp() - 3600}
    assert found["pdp_first_date_found_timestamp_seconds"] == {(): (NOW - timedelta(days=9)).timestamp()}


def test_a_gap_is_counted_and_before_the_first_look_nothing_is_said() -> None:
    gap = Gap("orders", "raw-orders", 0, 5, 9, NOW, True)
    domains = {"orders": DomainCoverage(10, 0, (gap,)), "users": DomainCoverage(3, 0, ())}
    found = values(families.of_coverage(CoverageReport(NOW, True, domains)))
    assert found["pdp_offset_gap_records"] == {("orders",): 5, ("users",): 0}
    assert found["pdp_offset_coverage_timestamp_seconds"] == {(): NOW.timestamp()}
    assert not values(families.of_coverage(CoverageReport(None, False, domains)))


def test_the_last_audit_is_kept_in_the_lake_and_one_that_saw_nothing_is_not(tmp_path: Path) -> None:
    lake = Lake(Settings(lake_uri=str(tmp_path)))
    last_audit.save(
        lake, report(StageResult(Stage.BRONZE, "orders", not_checked="Kafka does not answer")), NOW, began_at=NOW
    )
    assert (last_audit.load(lake), list(tmp_path.iterdir())) == (None, [])
    lost = Problem(Stage.BRONZE, "orders", None, Kind.LOST, 7)
    wrong = Equation("rows", 3, {"kept": 2})
    last_audit.save(
        lake,
        report(
            StageResult(Stage.BRONZE, "orders", problems=(lost,)),
            StageResult(Stage.SILVER, "orders", date(2026, 11, 19), (wrong,)),
            StageResult(Stage.SILVER, "orders", date(2026, 11, 20), not_checked="the lake did not answer"),
        ),
        NOW,
        began_at=NOW,
    )
    found = values(families.of_audit(last_audit.load(lake)))
    assert found["pdp_audit_timestamp_seconds"] == {(): NOW.timestamp()}
    assert found["pdp_audit_problems"] == {("orders", "bronze"): 1, ("orders", "silver"): 1}
    assert found["pdp_audit_not_checked"] == {("orders", "bronze"): 0, ("orders", "silver"): 1}
    (tmp_path / Lake.last_audit).write_text("{}")
    assert last_audit.load(lake) is None


def test_dead_letters_are_those_that_ever_were_and_those_that_are_kept() -> None:
    found = values(families.of_dead_letters({"dlq-raw-orders": {0: (4, 10), 1: (0, 1)}}))
    assert found["pdp_dead_letters_total"] == {("dlq-raw-orders",): 11}
    assert found["pdp_dead_letters_kept"] == {("dlq-raw-orders",): 7}
    assert {"dlq-raw-orders", "dlq-raw-orders-parked"} <= set(families.dead_letter_topics(CATALOG))


def test_an_outage_leaves_what_was_read_and_the_other_source() -> None:
    answers: dict[str, Exception | None] = {"lake": None, "kafka": TransientError("No broker answers.")}

    def reading(name: str) -> Iterable[Metric]:
        if error := answers[name]:
            raise error
        return [families.family("pdp_dead_letters_kept", [((name,), 1)])]

    catalog = Catalog([], {"orders": "no contract"})
    metrics = PlatformMetrics(catalog, {name: lambda name=name: reading(name) for name in answers})  # type: ignore[misc]
    for source in metrics.sources:
        source.refresh()
    first = values(metrics.collect())
    assert first["pdp_dead_letters_kept"] == {("lake",): 1}
    assert first["pdp_domain_broken"] == {("orders",): 1}
    read_at = first["pdp_metrics_read_timestamp_seconds"]  # what was never read is as old as the process
    assert read_at["lake",] > read_at["kafka",] > 0
    assert metrics.health().status == "ok"  # an outage of seconds is none
    answers["lake"] = TransientError("The lake does not answer.")
    for source in metrics.sources:
        source.refresh()
        source.read_at = (source.read_at or 1_000) - 301
    assert values(metrics.collect())["pdp_dead_letters_kept"] == {("lake",): 1}
    health = metrics.health()
    assert (health.ok, health.status) == (True, "degraded")
    assert "lake: The lake does not answer." in health.reason and "kafka: No broker answers." in health.reason
    assert b'pdp_dead_letters_kept{topic="lake"} 1.0' in generate_latest(metrics.registry)
