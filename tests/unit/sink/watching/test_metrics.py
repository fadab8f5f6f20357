from __future__ import annotations

import re

import pytest

from platform_core.settings import REPOSITORY
from sink.watching.metrics import SinkMetrics


def documented() -> dict[str, set[str]]:
    """Metric to labels, from the table in docs/operations.md."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| (`pdp_sink_[^|]*) \|([^|]*)\|", text, re.M)
    return {
        name: {label.strip() for label in labels.split(",") if label.strip()}
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.fixture
def defined():
    return {
        metric.name + ("_total" if metric.type == "counter" else ""): metric
        for metric in SinkMetrics(0.0, 60.0).registry.collect()
    }


def test_the_documentation_has_every_metric_and_its_labels(defined):
    metrics = SinkMetrics(0.0, 60.0)
    labels = {
        collector._name + ("_total" if collector._type == "counter" else ""): set(collector._labelnames)
        for collector in vars(metrics).values()
        if hasattr(collector, "_labelnames")
    }
    assert documented() == labels and labels.keys() == defined.keys()


def test_a_help_text_says_what_it_means(defined):
    for metric in defined.values():
        assert metric.documentation.endswith(".") and len(metric.documentation) > 15


def test_the_metrics_say_what_happened(rig):
    for _ in range(6):
        rig.event()
    rig.broker.append("raw-events", b"{broken")
    rig.step()
    get = rig.sink.metrics.registry.get_sample_value
    assert get("pdp_sink_records_total", {"topic": "raw-events"}) == 7
    assert get("pdp_sink_bytes_total", {"topic": "raw-events"}) > 500
    assert get("pdp_sink_dead_letters_total", {"topic": "raw-events", "reason": "malformed_json"}) == 1
    assert get("pdp_sink_flushes_total", {"reason": "rows"}) == 1
    assert get("pdp_sink_rows_written_total", {"topic": "raw-events"}) == 5
    assert get("pdp_sink_buffered_records") == 1
    assert get("pdp_sink_lag_records", {"topic": "raw-events", "partition": "0"}) == 0
    rig.step(seconds=59)
    assert get("pdp_sink_oldest_unflushed_seconds") == 59
    rig.step(seconds=1)
    assert get("pdp_sink_flushes_total", {"reason": "age"}) == 1
    assert get("pdp_sink_oldest_unflushed_seconds") == 0


def test_the_interval_that_the_alert_compares_with_is_the_one_that_is_set(make_rig):
    registry = make_rig(sink_flush_interval_seconds=900).sink.metrics.registry
    assert registry.get_sample_value("pdp_sink_flush_interval_seconds") == 900
