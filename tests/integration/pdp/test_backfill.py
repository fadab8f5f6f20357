"""`pdp backfill`: which dates of a range it touches, the dry run, and following it to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from pdp.commands import backfill
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State

Run = Callable[..., Result]
RANGE = ["orders", "--from", "2026-11-14", "--to", "2026-11-19"]


@pytest.fixture
def week(put: Callable[..., None]) -> None:
    put("orders", "2026-11-15", None)
    put("orders", "2026-11-16", State.DONE)
    put("orders", "2026-11-17", State.FAILED)
    put("orders", "2026-11-18", State.DONE)


@pytest.mark.usefixtures("week")
def test_every_date_with_bronze_is_reset_and_the_others_explained(
    pdp: Run, pdp_json: Callable[..., Any], meta: DeltaPartitionMeta
) -> None:
    dry = pdp_json("backfill", *RANGE, "--dry-run")
    assert [row.status for row in meta.rows("orders")] == [State.DONE, State.FAILED, State.DONE]
    shown = pdp("backfill", *RANGE)
    assert shown.exit_code == 0, shown.output
    assert "no Bronze files" in shown.stdout
    assert "discovery finds" in shown.stdout
    assert "`discover_orders` launches them on its next tick, within 15 s" in shown.stderr
    assert [row.status for row in meta.rows("orders")] == [State.PENDING] * 3
    assert [d["verdict"] for d in dry["dates"]] == ["skipped", "waiting", "reset", "reset", "reset", "skipped"]
    detail = meta.history("orders", date(2026, 11, 16))[-1].detail
    assert '"cause": "backfill"' in detail
    assert '"from": "2026-11-14", "to": "2026-11-19"' in detail


@pytest.mark.usefixtures("week")
def test_only_failed_leaves_what_is_done(pdp: Run, meta: DeltaPartitionMeta) -> None:
    assert pdp("backfill", *RANGE, "--only-failed").exit_code == 0
    assert [row.status for row in meta.rows("orders")] == [State.DONE, State.PENDING, State.DONE]


def test_a_date_in_flight_is_left_to_its_run_and_the_exit_code_is_1(
    pdp: Run, put: Callable[..., None], meta: DeltaPartitionMeta
) -> None:
    put("orders", "2026-11-16", State.DONE)
    put("orders", "2026-11-17", State.IN_FLIGHT)
    result = pdp("backfill", *RANGE)
    assert result.exit_code == 1
    assert "run `run-12345678` holds it" in result.stdout
    assert [row.status for row in meta.rows("orders")] == [State.PENDING, State.IN_FLIGHT]


def test_a_date_that_lost_bronze_is_refused_by_name_and_the_others_go_on(
    pdp_json: Callable[..., Any], put: Callable[..., None], meta: DeltaPartitionMeta, lake: Lake
) -> None:
    for day in (15, 16, 17):
        put("orders", f"2026-11-{day}", State.DONE)
    for day, files in ((16, 1), (17, None)):
        row = meta.get("orders", date(2026, 11, day))
        assert row is not None
        for file in row.source_files[:files]:
            Path(lake.uri(file)).unlink()
    before = meta.rows("orders")
    dry = pdp_json("backfill", *RANGE, "--dry-run", code=1)["dates"]
    assert [d["verdict"] for d in dry] == ["skipped", "reset", "refused", "refused", "skipped", "skipped"]
    assert dry[2]["reason"].endswith("accept the loss: pdp partitions reset orders 2026-11-16 --accept-loss")
    assert "what is published stays" in dry[3]["reason"]
    assert meta.rows("orders") == before
    assert [d["verdict"] for d in pdp_json("backfill", *RANGE, code=1)["dates"]] == [d["verdict"] for d in dry]
    assert [row.status for row in meta.rows("orders")] == [State.PENDING, State.DONE, State.DONE]


def test_a_range_without_bronze_ends_with_1(pdp: Run) -> None:
    result = pdp("backfill", *RANGE)
    assert result.exit_code == 1
    assert "nothing to process" in result.stderr
    assert "2026-11-14 … 2026-11-19 (6)" in result.stdout


@pytest.mark.parametrize(("end", "code"), [(Event.SUCCEEDED, 0), (Event.RUN_FAILED, 1)])
def test_wait_follows_to_the_end_and_tells_success_from_failure(
    pdp: Run,
    put: Callable[..., None],
    meta: DeltaPartitionMeta,
    monkeypatch: pytest.MonkeyPatch,
    end: Event,
    code: int,
) -> None:
    monkeypatch.setattr(backfill, "POLL_SECONDS", 0.05)
    put("orders", "2026-11-16", State.DONE)
    put("orders", "2026-11-17", State.DONE)

    def play_the_runs() -> None:
        days = [date(2026, 11, 16), date(2026, 11, 17)]
        deadline = time.monotonic() + 120
        while {row.status for row in meta.rows("orders")} != {State.PENDING} and time.monotonic() < deadline:
            time.sleep(0.05)
        for day, event in zip(days, (Event.SUCCEEDED, end), strict=True):
            meta.apply([Change("orders", day, State.PENDING, Event.RUN_STARTED, set={"run_id": "r2"})])
            time.sleep(0.3)
            meta.apply([Change("orders", day, State.IN_FLIGHT, event, run_id="r2")])

    runs = threading.Thread(target=play_the_runs)
    runs.start()
    result = pdp("backfill", *RANGE, "--wait")
    runs.join()
    assert result.exit_code == code, result.output
    assert "0 of 2 dates ended" in result.stderr
    assert "2 of 2 dates ended" in result.stderr
    assert ("pdp partitions show orders 2026-11-17" in result.stderr) == bool(code)
