"""The sensor over offsets tick by tick, on a real alert log, and its check run by Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit.offset_coverage.coverage import CoverageReport, DomainCoverage
from audit.offset_coverage.state import Gap
from platform_assets.asset_checks.offset_coverage import coverage_check
from platform_assets.assets.external import bronze_spec
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors.offset_coverage import coverage_sensor
from platform_core.domain.catalog import Catalog, load_catalog
from platform_core.lake.alerts import Alert
from platform_core.settings import REPOSITORY, Settings, settings
from tests.rigs.fake_clock import FakeClock

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NONE = DomainCoverage(100, 0, ())
GAP = Gap("orders", "raw-orders", 2, 100, 119, NOW, still_in_kafka=True)
OTHER = replace(GAP, first=300, last=300, still_in_kafka=False)


class Recorder:
    name = "kafka"

    def __init__(self) -> None:
        self.taken: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self.taken.append(alert)


class Watch:
    """The sensor, and the report that its next look finds."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.catalog = Catalog([load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]])
        self.domain = self.catalog["orders"]
        self.instance, self.store, self.clock, self.channel = instance, MetadataStore(), FakeClock(NOW), Recorder()
        self.made = 0
        self.cursor: str | None = None
        self.report = CoverageReport(NOW, True, {"orders": NONE})
        self.sensor = coverage_sensor(self.catalog, settings(), lambda: [self.channel], self.clock, self.make)

    def make(self, settings: Settings, lake: object, catalog: Catalog) -> Any:
        self.made += 1
        return self

    def update(self) -> CoverageReport:
        return self.report

    known = update

    def find(self, *gaps: Gap, complete: bool = True) -> None:
        self.report = CoverageReport(self.clock.now(), complete, {"orders": replace(NONE, gaps=gaps)})

    def tick(self, minutes: float = 1) -> list[bool]:
        self.clock.advance(minutes=minutes)
        resources = {"metadata_store": self.store}
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources) as context:
            result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            assert isinstance(event, dg.AssetCheckEvaluation)
            assert (event.asset_key, event.check_name) == (dg.AssetKey(["bronze", "orders"]), "no_offset_gap")
            assert (event.severity, event.blocking) == (dg.AssetCheckSeverity.ERROR, False)
        return [event.passed for event in result.asset_events]


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(instance)
    settings.cache_clear()


def test_the_sensor_runs_by_itself_every_minute(watch: Watch) -> None:
    sensor = coverage_sensor(watch.catalog, settings())
    assert (sensor.name, sensor.minimum_interval_seconds) == ("offset_coverage", 60)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_an_outcome_is_reported_when_it_changes_and_every_quarter_of_an_hour(watch: Watch) -> None:
    assert watch.tick() == [True]
    assert watch.tick() == []
    watch.find(GAP)
    assert watch.tick() == [False]
    assert watch.tick() == []
    watch.find(GAP, OTHER)
    assert watch.tick() == [False], "a second gap is news"
    assert watch.tick(14) == []
    assert watch.tick(1) == [False]
    watch.find()
    assert watch.tick() == [True]
    assert watch.made == 1, "the connection is kept"


def test_each_gap_is_one_alert(watch: Watch) -> None:
    watch.find(GAP)
    watch.tick()
    watch.tick()
    watch.cursor = None
    watch.tick()
    assert [alert.key for alert in watch.channel.taken] == ["offset_gap:raw-orders:2:100-119"]
    watch.find(replace(GAP, still_in_kafka=False), OTHER)
    watch.tick()
    assert [alert.key for alert in watch.channel.taken][1:] == ["offset_gap:raw-orders:2:300-300"]
    assert watch.channel.taken[0].command == "pdp offsets reset --topic raw-orders --partition 2 --to-offset 100"
    assert "Retention has dropped" in watch.channel.taken[1].what


def test_before_the_first_look_nothing_is_reported(watch: Watch) -> None:
    watch.report = CoverageReport(None, False, {"orders": NONE})
    assert watch.tick() == []


def test_without_kafka_the_tick_succeeds(watch: Watch) -> None:
    watch.sensor = coverage_sensor(watch.catalog, settings(), lambda: [watch.channel], watch.clock)
    assert watch.tick() == []
    assert watch.channel.taken == []


@pytest.mark.parametrize("gaps", [(), (GAP,)])
def test_the_check_runs_as_a_person_runs_it(watch: Watch, gaps: tuple[Gap, ...]) -> None:
    watch.find(*gaps, complete=False)
    check = coverage_check(watch.domain, settings(), watch.make)
    defs = dg.Definitions(
        assets=[bronze_spec(watch.domain)],
        asset_checks=[check],
        jobs=[dg.define_asset_job("look", dg.AssetSelection.checks(check))],
        resources={"metadata_store": watch.store},
    )
    result = defs.resolve_job_def("look").execute_in_process(instance=watch.instance)
    (found,) = result.get_asset_check_evaluations()
    assert result.success
    assert (found.asset_key, found.check_name) == (dg.AssetKey(["bronze", "orders"]), "no_offset_gap")
    assert (found.passed, found.blocking) == (not gaps, False)
    assert "As of 2026-11-20 12:00" in (found.description or "")
