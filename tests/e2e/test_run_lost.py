"""The run worker killed, and a run cancelled, while the whole platform runs: the date ends DONE by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from platform_assets.resources.warehouse import Warehouse
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import REPOSITORY, settings
from tests.rigs.ui.dagster_api import query, wait_for
from tests.rigs.ui.finished_demo import FinishedDemo

TOOK_OVER = 240


def pdp(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "pdp", *arguments, "--json"],
        cwd=REPOSITORY,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def loaded(day: date) -> list[tuple[Any, ...]]:
    with Warehouse().connect("test") as connection:
        sql = f"SELECT * FROM {settings().snowflake_database}.ORDERS.ORDERS WHERE ORDER_DATE = '{day}' ORDER BY CITY"
        rows: list[tuple[Any, ...]] = connection.cursor().execute(sql).fetchall()
    return rows


def worker_of(ui: str, run_id: str) -> int | None:
    """Return the process of a run, from its events; None while it is starting."""
    text = """query($id: ID!) { logsForRun(runId: $id) {
      ... on EventConnection { events { ... on MessageEvent { message } } } } }"""
    events = query(ui, text, id=run_id)["logsForRun"]["events"]
    pids = [m for e in events for m in re.findall(r"\(pid: (\d+)\)", e.get("message") or "")]
    return int(pids[-1]) if pids else None


@pytest.mark.usefixtures("demo_settings")
@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_a_date_whose_run_is_lost_ends_done(demo: FinishedDemo, how: str) -> None:
    ui, partitions = demo.report["ui"], DeltaPartitionMeta(Lake(settings()))
    day = max(row.partition_date for row in partitions.rows("orders") if row.status is State.DONE)
    rows, lines = loaded(day), len(partitions.history("orders", day))
    [outcome] = pdp("backfill", "orders", "--from", day.isoformat(), "--to", day.isoformat())["dates"]
    assert outcome["verdict"] == "reset"

    def in_flight() -> str | None:
        row = partitions.get("orders", day)
        return row.run_id if row and row.status is State.IN_FLIGHT else None

    run_id = wait_for("the run", 120, in_flight)
    if how == "killed":
        os.kill(wait_for("its process", 60, lambda: worker_of(ui, run_id)), signal.SIGKILL)
    else:
        text = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        assert query(ui, text, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def since() -> list[str]:
        return [t.event for t in partitions.history("orders", day)][lines:]

    wait_for("DONE by another run", TOOK_OVER, lambda: since()[-1:] == ["succeeded"])
    row, events = partitions.get("orders", day), since()
    assert row is not None
    assert row.status is State.DONE
    assert row.run_id != run_id
    assert events == ["reset", "run_started", "run_failed", "retry", "run_started", "succeeded"]
    assert loaded(day) == rows
    shown = pdp("partitions", "history", "orders", day.isoformat())
    assert [line["event"] for line in shown["transitions"]][-len(events) :] == events
