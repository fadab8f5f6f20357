"""Writes Grafana's dashboards: `python -m infra.monitoring.dashboards`; a test compares them with the files.

What a panel asks and says is here, a line or two each; the JSON that Grafana wants is made of it. Alert rules are in
`prometheus/rules`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
HEIGHT = 8


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        description: What it shows, and what is well.
        unit: Grafana's name of the unit.
        queries: Legend to PromQL.
        kind: A line over time, or the value of now.
        width: Of 24 columns.
        alarm: From which value on the value of now is red.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    alarm: float | None = None


@dataclass(frozen=True)
class PanelRow:
    """A row of panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; its `uid` is the name of its file and part of its address."""

    uid: str
    title: str
    description: str
    rows: Sequence[PanelRow]


RATE = "[$__rate_interval]"

OVERVIEW = Dashboard(
    "pdp-overview",
    "The way of the data",
    "From the sources to the warehouse, left to right and top to bottom; what is red has an alert.",
    [
        PanelRow(
            "Now",
            [
                Panel(
                    "Alerts that fire",
                    "How many, and which; docs/operations.md says what to do about each. 0 is well.",
                    "short",
                    {
                        "all": 'count(ALERTS{alertstate="firing"}) or vector(0)',
                        "{{alertname}}": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    },
                    "stat",
                    12,
                    1,
                ),
                Panel(
                    "Processes that answer",
                    "Sink, producers and the daemon: each has 1.",
                    "short",
                    {"{{instance}}": 'up{job!="prometheus"}'},
                    "stat",
                    12,
                ),
            ],
        ),
        PanelRow(
            "Sources to Kafka",
            [
                Panel(
                    "Records acknowledged",
                    "By Kafka, a second. Snapshots and increments come in bursts.",
                    "cps",
                    {"{{domain}}": f"sum by (domain) (rate(pdp_producer_records_total{RATE}))"},
                ),
                Panel(
                    "Watermark age",
                    "How far a polled table is read behind its database's clock. It grows while a transaction is open.",
                    "s",
                    {"{{domain}}": "max by (domain) (pdp_cdc_watermark_age_seconds)"},
                ),
                Panel(
                    "Last good round",
                    "Since when no round of a source ended well, in its intervals. Above 3 it is not read.",
                    "short",
                    {
                        "{{domain}}": "max by (domain) ((time() - pdp_producer_last_success_timestamp_seconds)"
                        " / pdp_producer_interval_seconds)"
                    },
                ),
            ],
        ),
        PanelRow(
            "Kafka to Bronze",
            [
                Panel(
                    "Lag",
                    "Records that wait in Kafka. It falls back to few after each burst.",
                    "short",
                    {"{{topic}}": "sum by (topic) (pdp_sink_lag_records)"},
                ),
                Panel(
                    "Oldest unflushed record",
                    "Age of the oldest record in memory: a saw below SINK_FLUSH_INTERVAL_SECONDS.",
                    "s",
                    {"{{instance}}": "pdp_sink_oldest_unflushed_seconds"},
                ),
                Panel(
                    "Last file",
                    "Since when the store has taken no file of a topic.",
                    "s",
                    {"{{topic}}": "time() - max by (topic) (pdp_sink_last_file_timestamp_seconds)"},
                ),
            ],
        ),
        PanelRow(
            "Dead letters",
            [
                Panel(
                    "New dead letters",
                    "In the last hour, by topic. None is well.",
                    "short",
                    {"{{topic}}": "increase(pdp_dead_letters_total[1h])"},
                    width=12,
                ),
                Panel(
                    "Dead letters kept",
                    "What the topics have, redriven ones included, until their retention of 30 days ends.",
                    "short",
                    {"{{topic}}": "pdp_dead_letters_kept"},
                    width=12,
                ),
            ],
        ),
        PanelRow(
            "Bronze to the warehouse",
            [
                Panel(
                    "Dates DEAD or ILLEGAL",
                    "They wait for a person. None is well.",
                    "short",
                    {"{{domain}}": 'sum by (domain) (pdp_partitions{state=~"DEAD|ILLEGAL"})'},
                    "stat",
                    12,
                    1,
                ),
                Panel(
                    "Late by",
                    "How long the date that is due has not been DONE; 0 is well.",
                    "s",
                    {"{{domain}}": "pdp_delivery_late_seconds"},
                    "stat",
                    12,
                    1,
                ),
                Panel(
                    "Dates by state",
                    "Over all domains, without those that are DONE.",
                    "short",
                    {"{{state}}": 'sum by (state) (pdp_partitions{state!="DONE"})'},
                ),
                Panel(
                    "Newest date that is DONE",
                    "Age of its end. It grows to 30 hours before the next date is DONE.",
                    "s",
                    {"{{domain}}": "time() - pdp_newest_done_date_timestamp_seconds"},
                ),
                Panel(
                    "Last load",
                    "Since when no date was loaded into the warehouse.",
                    "s",
                    {"{{domain}}": "time() - pdp_last_load_timestamp_seconds"},
                ),
            ],
        ),
        PanelRow(
            "The proof",
            [
                Panel(
                    "Offsets in a gap",
                    "Committed, and neither in Bronze nor a dead letter. 0 is well.",
                    "short",
                    {"{{domain}}": "pdp_offset_gap_records"},
                    "stat",
                    8,
                    1,
                ),
                Panel(
                    "Last audit: unexplained",
                    "Differences that the last audit could not explain, by stage. 0 is well.",
                    "short",
                    {"{{stage}}": "sum by (stage) (pdp_audit_problems)"},
                    "stat",
                    8,
                    1,
                ),
                Panel(
                    "Age of the proofs",
                    "Since the last audit, and since the minute's comparison of offsets.",
                    "s",
                    {
                        "audit": "time() - pdp_audit_timestamp_seconds",
                        "offsets": "time() - pdp_offset_coverage_timestamp_seconds",
                    },
                    "stat",
                ),
            ],
        ),
    ],
)

PROCESSES = Dashboard(
    "pdp-processes",
    "Sink and producers",
    "What each process does, to find out why something on the overview is red.",
    [
        PanelRow(
            "Sink: what comes and goes",
            [
                Panel(
                    "Records taken",
                    "From Kafka, a second.",
                    "cps",
                    {"{{topic}}": f"sum by (topic) (rate(pdp_sink_records_total{RATE}))"},
                ),
                Panel(
                    "Rows written",
                    "Into Bronze, a second.",
                    "cps",
                    {"{{topic}}": f"sum by (topic) (rate(pdp_sink_rows_written_total{RATE}))"},
                ),
                Panel(
                    "Bytes",
                    "Of values taken and of files written, a second.",
                    "Bps",
                    {
                        "taken": f"sum(rate(pdp_sink_bytes_total{RATE}))",
                        "written": f"sum(rate(pdp_sink_bytes_written_total{RATE}))",
                    },
                ),
                Panel(
                    "Why buffers close",
                    "Files a minute: `rows` and `age` are ordinary, `memory` says that memory is short, `drain` that"
                    " the sink stopped or was asked to flush.",
                    "short",
                    {"{{reason}}": f"sum by (reason) (rate(pdp_sink_flushes_total{RATE})) * 60"},
                ),
                Panel(
                    "Lag by Kafka partition",
                    "Records that wait. One partition far above the others has a hot key or a lost leader.",
                    "short",
                    {"{{topic}} {{partition}}": "pdp_sink_lag_records"},
                ),
                Panel(
                    "Refused",
                    "Dead letters of the sink a minute, by reason.",
                    "short",
                    {"{{topic}} {{reason}}": f"sum by (topic, reason) (rate(pdp_sink_dead_letters_total{RATE})) * 60"},
                ),
            ],
        ),
        PanelRow(
            "Sink: memory, store and brokers",
            [
                Panel("Records in memory", "Buffered.", "short", {"{{instance}}": "pdp_sink_buffered_records"}),
                Panel(
                    "Bytes in memory",
                    "Estimated. At SINK_MAX_BUFFERED_BYTES buffers are written, and then nothing more is taken.",
                    "bytes",
                    {"{{instance}}": "pdp_sink_buffered_bytes"},
                ),
                Panel(
                    "Time to put a file",
                    "Encoding included; half of the files, and 19 of 20.",
                    "s",
                    {
                        "half": f"histogram_quantile(0.5, sum by (le) (rate(pdp_sink_put_seconds_bucket{RATE})))",
                        "95 %": f"histogram_quantile(0.95, sum by (le) (rate(pdp_sink_put_seconds_bucket{RATE})))",
                    },
                ),
                Panel(
                    "Failures",
                    "Of the store and of commits, a minute. None is well.",
                    "short",
                    {
                        "store": f"sum(rate(pdp_sink_store_failures_total{RATE})) * 60",
                        "commits": f"sum(rate(pdp_sink_commit_failures_total{RATE})) * 60",
                    },
                ),
                Panel(
                    "Paused",
                    "1 while the sink takes nothing, or no more of a topic.",
                    "short",
                    {"all of it": "pdp_sink_paused", "{{topic}}": "pdp_sink_topic_paused == 1"},
                ),
                Panel(
                    "Unconfirmed and recognised",
                    "Dead letters that Kafka has not confirmed, and records that a killed sink had stored already.",
                    "short",
                    {"unconfirmed": "pdp_sink_open_dead_letters", "recognised": "pdp_sink_recognised_records_total"},
                ),
            ],
        ),
        PanelRow(
            "Producers",
            [
                Panel(
                    "Bytes sent",
                    "Values that Kafka acknowledged, a second.",
                    "Bps",
                    {"{{domain}}": f"sum by (domain) (rate(pdp_producer_bytes_total{RATE}))"},
                ),
                Panel(
                    "Refused",
                    "Records that became dead letters before Kafka's topic, a minute.",
                    "short",
                    {"{{domain}} {{reason}}": f"sum by (domain, reason) (rate(pdp_producer_refused_total{RATE})) * 60"},
                ),
                Panel(
                    "Not acknowledged",
                    "Records that Kafka did not acknowledge, a minute; they are sent again.",
                    "short",
                    {"{{domain}}": f"sum by (domain) (rate(pdp_producer_delivery_failures_total{RATE})) * 60"},
                ),
                Panel(
                    "Polls held open",
                    "Polls whose window an open transaction keeps open; it grows while that lasts.",
                    "short",
                    {"{{domain}}": "pdp_cdc_held_polls"},
                    width=12,
                ),
                Panel(
                    "Reading for these metrics",
                    "Since when the daemon has not read the lake, or Kafka. Above a minute something is out.",
                    "s",
                    {"{{source}}": "time() - pdp_metrics_read_timestamp_seconds"},
                    width=12,
                ),
            ],
        ),
    ],
)

DASHBOARDS = (OVERVIEW, PROCESSES)


def to_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana's provisioning reads it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["pdp"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "panels": list(_panels(dashboard)),
    }


def main() -> None:
    """Write the files."""
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.uid}.json").write_text(text(dashboard), encoding="utf-8")


def text(dashboard: Dashboard) -> str:
    """Return the content of a dashboard's file."""
    return json.dumps(to_json(dashboard), indent=1, ensure_ascii=False) + "\n"


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in dashboard.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            size = 4 if panel.kind == "stat" else HEIGHT
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": size})
            left, height = left + panel.width, max(height, size)
        top += height


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": panel.kind == "stat",
                "range": panel.kind != "stat",
            }
            for n, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


_OPTIONS: Mapping[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value_and_name",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
}


if __name__ == "__main__":
    main()
