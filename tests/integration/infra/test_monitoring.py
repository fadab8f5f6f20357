"""Rules and dashboards on a real Prometheus that asks the processes' own registries for their metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.last_audit import LastAudit, StageOutcome
from audit.offset_coverage.coverage import CoverageReport, DomainCoverage
from audit.offset_coverage.state import Gap
from audit.report import Stage
from infra.monitoring import dashboards
from platform_assets.metrics import families
from platform_assets.metrics.exporter import PlatformMetrics
from platform_core.domain.catalog import Catalog
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.probe_server import Health, ProbeServer
from platform_kafka.formats.refusal_reason import RefusalReason
from producers.source_probe import SourceProbe
from sink.records.decoding import Refusal
from sink.watching.metrics import SinkMetrics
from tests.rigs.prometheus import CONFIGURATION, Prometheus, prometheus_on, promtool


@pytest.mark.parametrize("file", sorted(CONFIGURATION.glob("tests/*.yml")), ids=lambda file: file.stem)
def test_each_alert_is_silent_fires_and_clears(file: Path) -> None:
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_configuration() -> None:
    done = promtool("check", "config", str(CONFIGURATION / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class WatchedPlatform:
    """The registries of a sink, a producer and the daemon, as they are while something is wrong everywhere."""

    catalog: Catalog
    wrong: bool = True
    sink: SinkMetrics = field(default_factory=lambda: SinkMetrics(0.0, 60.0))
    producer: SourceProbe = field(default_factory=lambda: SourceProbe("orders", 30.0))

    def __post_init__(self) -> None:
        self.daemon = PlatformMetrics(
            Catalog(list(self.catalog), {"shifts": "no contract"}),
            {"lake": self._lake, "kafka": lambda: families.of_dead_letters({"dlq-raw-orders": {0: (0, 3)}})},
        )
        self.sink.took("raw-orders", 10, 1_000)
        self.sink.wrote("raw-orders", 9, 900, "memory")
        self.sink.put_seconds.observe(0.2)
        refused: Any = SimpleNamespace(topic=lambda: "raw-orders", partition=lambda: 0, offset=lambda: 7)
        self.sink.refuse(refused, Refusal(RefusalReason.MALFORMED_JSON, "no JSON"))
        self.sink.measure(oldest=400, rows=5, size=500, open_dead_letters=1, paused=True)
        self.sink.report(1.0, lambda: {("raw-orders", 0): 2_000})
        self.sink.topic_paused.labels("raw-orders").set(1)
        self.producer.metrics.delivered(5, 500, {"too_large": 1})
        self.producer.watched(lambda: None)()
        reader: Any = SimpleNamespace(watermark_age_seconds=1, position=SimpleNamespace(polls=[0]))
        self.producer.metrics.polled(reader)
        self.refresh()

    def refresh(self) -> None:
        for source in self.daemon.sources:
            source.refresh()

    def _lake(self) -> Iterator[Any]:
        now = datetime.now(UTC)
        done = Partition("orders", date(2026, 3, 1), State.DONE, created_at=now, processed_at=now - timedelta(hours=1))
        other = State.DEAD if self.wrong else State.PENDING
        yield from families.of_partitions(
            self.catalog, [done, Partition("orders", date(2026, 3, 2), other, created_at=now)], now
        )
        gaps = (Gap("orders", "raw-orders", 0, 5, 9, now, True),) if self.wrong else ()
        yield from families.of_coverage(CoverageReport(now, True, {"orders": DomainCoverage(10, 0, gaps)}))
        stages = [StageOutcome(domain="orders", stage=Stage.SILVER, problems=3 * self.wrong, checked=True)]
        yield from families.of_audit(LastAudit(at=now, stages=stages))


@pytest.fixture
def platform(catalog: Catalog) -> WatchedPlatform:
    return WatchedPlatform(catalog)


@pytest.fixture
def prometheus(platform: WatchedPlatform, tmp_path: Path) -> Iterator[Prometheus]:
    with ExitStack() as stack:
        ports = {
            job: [stack.enter_context(ProbeServer(0, registry, lambda: Health(True))).port]
            for job, registry in (
                ("sink", platform.sink.registry),
                ("producer", platform.producer.metrics.registry),
                ("orchestrator", platform.daemon.registry),
            )
        }
        yield stack.enter_context(prometheus_on(ports, tmp_path))


def test_each_panel_has_data_and_an_alert_ends_with_its_cause(
    prometheus: Prometheus, platform: WatchedPlatform
) -> None:
    at_once = {"DateDead", "DomainBroken", "OffsetGap", "AuditFoundProblems"}
    prometheus.until("alerts without a delay", lambda: at_once <= prometheus.firing().keys())
    summary = prometheus.firing()["OffsetGap"]["annotations"]["summary"]
    assert summary == "5 records of orders were committed and are in no file and no dead letter"

    queries = {
        (panel.title, query)
        for board in dashboards.DASHBOARDS
        for row in board.rows
        for panel in row.panels
        for query in panel.queries.values()
    }
    empty: list[tuple[str, str]] = []

    def all_have_data() -> bool:
        empty[:] = [each for each in queries if not prometheus.query(each[1].replace("$__rate_interval", "1m"))]
        return not empty

    try:
        prometheus.until("data of each panel", all_have_data)
    except AssertionError:
        raise AssertionError(f"Panels without data: {empty}") from None

    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []

    platform.wrong = False
    platform.refresh()
    prometheus.until("their end", lambda: at_once & prometheus.firing().keys() == {"DomainBroken"})
