"""The Dagster UI in a real browser: lineage, filled partitions, green checks. Screenshots stay in .platform."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.rigs.ui.browser import keep
from tests.rigs.ui.finished_demo import DAYS, FinishedDemo


@pytest.mark.parametrize(("domain", "tables"), [("events", 2), ("orders", 2), ("restaurants", 1), ("users", 1)])
def test_the_lineage_of_a_domain(demo: FinishedDemo, page: Page, domain: str, tables: int) -> None:
    page.goto(f"{demo.report['ui']}/locations/platform/asset-groups/{domain}/lineage")
    # Silver, the Gold tables and the warehouse can be materialised; what comes before is not Dagster's to make.
    expect(page.get_by_text(f"Materialize all ({tables + 2})")).to_be_visible()
    for kind in ("Kafka", "Parquet", "Delta Lake", "Snowflake"):
        expect(page.get_by_text(kind).first).to_be_visible()
    for passed in ("2 / 2 Passed",):
        expect(page.get_by_text(passed).first).to_be_visible()
    keep(page, f"lineage-{domain}")


def test_partitions_are_filled(demo: FinishedDemo, page: Page) -> None:
    for key in ("bronze/orders", "silver/orders", "gold/orders", "snowflake/orders"):
        page.goto(f"{demo.report['ui']}/assets/{key}?view=partitions")
        expect(page.get_by_text(f"Materialized ({DAYS})").first).to_be_visible()
        expect(page.get_by_text("Failed (0)").first).to_be_visible()
        keep(page, f"partitions-{key.replace('/', '-')}")


def test_checks_are_green(demo: FinishedDemo, page: Page) -> None:
    for key, name in (("silver/orders", "contract"), ("gold/orders", "reconciles_with_silver")):
        page.goto(f"{demo.report['ui']}/assets/{key}?view=checks")
        expect(page.get_by_text(name).first).to_be_visible()
        expect(page.get_by_text("Passed").first).to_be_visible()
        expect(page.get_by_text("Failed")).to_have_count(0)
    keep(page, "checks-gold-orders")


def test_the_runs_succeeded(demo: FinishedDemo, page: Page) -> None:
    page.goto(f"{demo.report['ui']}/runs")
    expect(page.get_by_text("data_pipeline_orders").first).to_be_visible()
    keep(page, "runs")
