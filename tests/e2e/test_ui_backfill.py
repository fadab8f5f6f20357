"""A backfill of 30 dates from the UI, one of them poisoned: 29 green, 1 red, and a resume that touches only the one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Locator, Page, expect

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from tests.rigs.ui.browser import keep
from tests.rigs.ui.dagster_api import backfills, runs, switch_sensor, wait_for
from tests.rigs.ui.finished_demo import FIRST_BACKFILLED, FinishedDemo

RANGE = [FIRST_BACKFILLED + timedelta(days=n) for n in range(30)]
POISONED = RANGE[17]


def write_users(lake: Lake, day: date, tier: str) -> None:
    """Write the one small Bronze file of a date as the sink does; nobody else writes these dates."""
    domain = load_catalog(settings().domains_file)["users"]
    at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
    rows = [
        {
            "user_id": n,
            "name": f"User {n}",
            "email_masked": "u***@example.org",
            "city": ["Berlin", "Paris"][n % 2],
            "tier": tier,
            "is_active": True,
            "created_at": at,
            "updated_at": at,
            "extracted_at": at,
            "deleted_at": None,
            "_topic": "raw-users",
            "_partition": 0,
            "_offset": day.toordinal() * 100 + n,
            "_kafka_timestamp": at,
            "_key": str(n),
            "_schema_id": 1,
            "_ingested_at": at,
            "_extra": None,
        }
        for n in range(1, 9)
    ]
    path = Path(lake.path(f"{lake.bronze_partition(domain, day)}/part-users.parquet"))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=bronze_schema(domain.contract)), path)


@pytest.fixture
def history(demo: FinishedDemo, on_sail: None, demo_settings: None) -> Iterator[Lake]:
    """30 old dates in Bronze, while the sensor that would process them by itself is off."""
    lake = Lake(settings())
    switch_sensor(demo.report["ui"], "discover_users", on=False)
    for day in RANGE:
        write_users(lake, day, "plastic" if day == POISONED else "gold")
    yield lake
    switch_sensor(demo.report["ui"], "discover_users", on=True)


def chosen_range(page: Page, ui: str) -> Locator:
    """Open the dialog that materialises the domain's assets, and type the range."""
    page.goto(f"{ui}/locations/platform/asset-groups/users/lineage")
    page.get_by_text("Materialize all").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill(f"[{RANGE[0]}...{RANGE[-1]}]")
    dialog.get_by_role("textbox").first.press("Enter")
    expect(dialog.get_by_text("30 partitions").first).to_be_visible()
    return dialog


def launch_backfill(page: Page, ui: str) -> None:
    """Launch a backfill of the range, and return when it is over."""
    known = {found["id"] for found in backfills(ui)}
    dialog = chosen_range(page, ui)
    keep(page, "backfill-dialog")
    dialog.get_by_role("button", name="Launch").click()
    [new] = wait_for("a backfill", 60, lambda: [f for f in backfills(ui) if f["id"] not in known])
    page.goto("about:blank")  # an open lineage asks and draws all the time, and nobody looks at it
    over = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED", "COMPLETED")
    wait_for(
        "the backfill's end",
        900,
        lambda: [f for f in backfills(ui) if f["id"] == new["id"] and f["status"] in over],
        pause=3,
    )


def resume(page: Page, ui: str) -> None:
    """Launch what failed of the range, which is one run, and return when it is over."""
    known = {run["runId"] for run in runs(ui)}
    dialog = chosen_range(page, ui)
    dialog.get_by_text("Backfill only failed and missing partitions within selection").click()
    expect(dialog.get_by_text("1 partition", exact=True)).to_be_visible()
    keep(page, "backfill-dialog-resume")
    dialog.get_by_role("button", name="Launch 1 run").click()
    over = ("SUCCESS", "FAILURE", "CANCELED")
    [new] = wait_for(
        "the end of the run", 300, lambda: [r for r in runs(ui) if r["runId"] not in known and r["status"] in over]
    )
    assert new["status"] == "SUCCESS"


def show_range(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("textbox").first.fill(f"[{RANGE[0]}...{RANGE[-1]}]")
    page.get_by_role("textbox").first.press("Enter")
    expect(page.get_by_text("30 Partitions Selected").first).to_be_visible()


def rows_of(lake: Lake) -> dict[date, Partition]:
    return {row.partition_date: row for row in DeltaPartitionMeta(lake).rows("users") if row.partition_date in RANGE}


def test_thirty_dates_one_poisoned_and_a_resume(demo: FinishedDemo, page: Page, history: Lake) -> None:
    ui, lake = demo.report["ui"], history
    launch_backfill(page, ui)
    rows = rows_of(lake)
    assert {day: row.status for day, row in rows.items()} == {
        day: State.FAILED if day == POISONED else State.DONE for day in RANGE
    }
    assert len({row.run_id for row in rows.values()}) == 1, "one run, and so one Spark session"
    for key in ("silver/users", "gold/users", "snowflake/users"):
        show_range(page, f"{ui}/assets/{key}?view=partitions")
        expect(page.get_by_text("Materialized (29)").first).to_be_visible()
        expect(page.get_by_text("Failed (1)").first).to_be_visible()
        keep(page, f"backfill-29-and-1-{key.replace('/', '-')}")

    write_users(lake, POISONED, "gold")
    resume(page, ui)
    after = rows_of(lake)
    assert {row.status for row in after.values()} == {State.DONE}
    assert [day for day in RANGE if after[day].processed_at != rows[day].processed_at] == [POISONED]
    show_range(page, f"{ui}/assets/silver/users?view=partitions")
    expect(page.get_by_text("Materialized (30)").first).to_be_visible()
    expect(page.get_by_text("Failed (0)").first).to_be_visible()
    keep(page, "backfill-resumed")
