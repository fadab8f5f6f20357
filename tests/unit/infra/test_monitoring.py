"""Rules and dashboards as texts: what they ask for exists, and what an alert says leads somewhere.

What Prometheus makes of them is in tests/integration/infra/test_monitoring.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from infra.monitoring import dashboards
from platform_assets.metrics.families import METRICS
from platform_core.settings import REPOSITORY
from producers.metrics import ProducerMetrics
from sink.watching.metrics import SinkMetrics
from tests.rigs.anchors import anchors

MONITORING = REPOSITORY / "infra" / "monitoring"
OPERATIONS = REPOSITORY / "docs" / "operations.md"
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in sorted((MONITORING / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}
PANELS = [(board, panel) for board in dashboards.DASHBOARDS for row in board.rows for panel in row.panels]
# Of Prometheus itself.
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
FUNCTIONS = (
    "and by clamp_min count delta histogram_quantile humanize increase le max on or rate sum time unless vector without"
)


def _labels(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    for collector in registry._collector_to_names:
        name, kind = collector._name, collector._type  # type: ignore[attr-defined]
        for end in {"counter": ("_total",), "histogram": ("_bucket",)}.get(kind, ("",)):
            yield name + end, {*collector._labelnames, "job", "instance"}  # type: ignore[attr-defined]


KNOWN: dict[str, set[str]] = {
    **OF_PROMETHEUS,
    **dict(_labels(SinkMetrics(0.0, 60.0).registry)),
    **dict(_labels(ProducerMetrics("orders").registry)),
    **{name: {*labels, "job", "instance"} for name, (labels, _) in METRICS.items()},
}


def assert_known(expression: str, texts: str = "") -> None:
    """Every metric of an expression exists, and each label that it or a text names is one of theirs."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|[\d.]+[smhd]?\b', " ", expression)
    selected = re.findall(r"\{([^}]*)\}", bare)
    grouped = re.findall(r"(?:by|without|on) \(([^)]*)\)", bare)
    without = re.sub(r"\{[^}]*\}|(?:by|without|on) \([^)]*\)", " ", bare)
    names = set(re.findall(r"[a-zA-Z_]\w*", without)) - set(FUNCTIONS.split())
    assert names <= KNOWN.keys(), names - KNOWN.keys()
    labels = set(re.findall(r"[a-z_]\w*", " ".join([*selected, *grouped])))
    labels |= set(re.findall(r"(?:\$labels\.|\{\{)(\w+)", texts))
    known = set().union(*(KNOWN[name] for name in names), {"le", "domain"} if "ALERTS" in names else {"le"})
    assert labels <= known, labels - known


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_asks_for_what_exists_and_says_what_to_do(alert: str) -> None:
    rule = RULES[alert]
    notes = rule["annotations"]
    assert_known(rule["expr"], notes["summary"] + notes["description"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert notes.keys() == {"summary", "description", "runbook"}
    assert notes["description"].endswith(".") and not notes["summary"].endswith(".")
    file, anchor = notes["runbook"].split("#")
    assert (file, anchor in anchors(OPERATIONS)) == ("docs/operations.md", True)
    assert f"| `{alert}` |" in OPERATIONS.read_text()


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_has_a_test_in_which_it_is_silent_fires_and_clears(alert: str) -> None:
    fired = [
        [bool(each["exp_samples"]) for each in test["promql_expr_test"]]
        for file in (MONITORING / "prometheus" / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        if test["name"] == alert
    ]
    assert [False, True, False] in fired


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: each.title)
def test_a_panel_has_a_unit_and_a_description_and_asks_for_what_exists(
    board: dashboards.Dashboard, panel: dashboards.Panel
) -> None:
    assert panel.unit and panel.description.endswith(".") and panel.queries
    for legend, expression in panel.queries.items():
        assert_known(expression, legend)


def test_the_dashboards_are_what_their_program_writes_and_ask_the_provisioned_source() -> None:
    written = {file.stem: file.read_text() for file in dashboards.FOLDER.glob("*.json")}
    assert written == {board.uid: dashboards.text(board) for board in dashboards.DASHBOARDS}, (
        "Run `python -m infra.monitoring.dashboards`."
    )
    provisioned = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == dashboards.DATASOURCE
    for text in written.values():
        ids = [panel["id"] for panel in json.loads(text)["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_service_with_an_endpoint_is_scraped() -> None:
    config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    targets = {
        target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    }
    served = {
        f"{name}:{service['environment']['METRICS_PORT']}"
        for name, service in COMPOSE["services"].items()
        if "METRICS_PORT" in service.get("environment", {})
    }
    assert targets == {*served, "127.0.0.1:9090", "alertmanager:9093"}


def test_the_files_are_mounted_where_they_name_each_other() -> None:
    mounted = {
        source: target
        for name in ("prometheus", "grafana")
        for source, target, *_ in (volume.split(":") for volume in COMPOSE["services"][name]["volumes"])
    }
    provider = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/platform.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == mounted["./infra/monitoring/grafana/dashboards"]
    home = re.search(r"default_home_dashboard_path = (\S+)", (MONITORING / "grafana/grafana.ini").read_text())
    assert home and home[1] == f"{provider['options']['path']}/{dashboards.OVERVIEW.uid}.json"
    assert all((REPOSITORY / source).exists() for source in mounted if source.startswith("."))
