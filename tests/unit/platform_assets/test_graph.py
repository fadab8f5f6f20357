"""The whole graph of the catalog as text: what somebody sees who opens the UI, and what a change adds or loses.

A check that blocks a run is marked with `!`.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from platform_assets.definitions import build_defs
from platform_core.domain.catalog import load_catalog
from platform_core.settings import REPOSITORY

SILVER = "accepted_values! contract! non_null! quarantine_ratio! reconciles_with_bronze! unique_key!"
GOLD = "reconciles_with_silver! unique_key!"
WAREHOUSE = "reconciles_with_gold! audit fresh no_dead_partition"

GRAPH = f"""
events: clickstream/events (external, clickstream+python)
events: kafka/raw-events (external, json+kafka) <- clickstream/events
events: bronze/events (external daily, parquet) <- kafka/raw-events [no_offset_gap]
events: silver/events (run daily, deltalake+spark) <- bronze/events [{SILVER} volume]
events: gold/events (run daily, deltalake+spark) <- silver/events [{GOLD}]
events: gold/events_funnel (run daily, deltalake+spark) <- silver/events [{GOLD}]
events: snowflake/events (run daily, snowflake) <- gold/events, gold/events_funnel [{WAREHOUSE}]
maintenance: maintenance/events (run, deltalake)
maintenance: maintenance/orders (run, deltalake)
maintenance: maintenance/platform (run, deltalake)
maintenance: maintenance/restaurants (run, deltalake)
maintenance: maintenance/users (run, deltalake)
orders: postgres/orders (external, postgres+table)
orders: postgres/orders_tombstones (external, postgres+table)
orders: kafka/raw-orders (external, json+kafka) <- postgres/orders, postgres/orders_tombstones
orders: bronze/orders (external daily, parquet) <- kafka/raw-orders [no_offset_gap]
orders: silver/orders (run daily, deltalake+spark) <- bronze/orders [{SILVER} reconciles_with_source volume]
orders: gold/orders (run daily, deltalake+spark) <- silver/orders [{GOLD}]
orders: gold/orders_by_restaurant (run daily, deltalake+spark) <- silver/orders [{GOLD}]
orders: snowflake/orders (run daily, snowflake) <- gold/orders, gold/orders_by_restaurant [{WAREHOUSE}]
platform: platform/audit (run, python)
platform: platform/domains (external, yaml) [every_domain_runs]
restaurants: postgres/restaurants (external, postgres+table)
restaurants: kafka/raw-restaurants (external, json+kafka) <- postgres/restaurants
restaurants: bronze/restaurants (external daily, parquet) <- kafka/raw-restaurants [no_offset_gap]
restaurants: silver/restaurants (run daily, deltalake+spark) <- bronze/restaurants [{SILVER} volume]
restaurants: gold/restaurants (run daily, deltalake+spark) <- silver/restaurants [{GOLD}]
restaurants: snowflake/restaurants (run daily, snowflake) <- gold/restaurants [{WAREHOUSE}]
users: postgres/users (external, postgres+table)
users: postgres/users_tombstones (external, postgres+table)
users: kafka/raw-users (external, json+kafka) <- postgres/users, postgres/users_tombstones
users: bronze/users (external daily, parquet) <- kafka/raw-users [no_offset_gap]
users: silver/users (run daily, deltalake+spark) <- bronze/users [{SILVER} volume]
users: gold/users (run daily, deltalake+spark) <- silver/users [{GOLD}]
users: snowflake/users (run daily, snowflake) <- gold/users [{WAREHOUSE}]
job audit: platform/audit
job data_pipeline_events: gold/events, gold/events_funnel, silver/events, snowflake/events
job data_pipeline_orders: gold/orders, gold/orders_by_restaurant, silver/orders, snowflake/orders
job data_pipeline_restaurants: gold/restaurants, silver/restaurants, snowflake/restaurants
job data_pipeline_users: gold/users, silver/users, snowflake/users
job maintenance_events: maintenance/events
job maintenance_orders: maintenance/orders
job maintenance_platform: maintenance/platform
job maintenance_restaurants: maintenance/restaurants
job maintenance_users: maintenance/users
schedule audit_daily: 0 9 * * * UTC RUNNING
schedule data_pipeline_events_daily: 0 6 * * * UTC RUNNING
schedule data_pipeline_orders_daily: 0 6 * * * UTC RUNNING
schedule data_pipeline_restaurants_daily: 0 6 * * * UTC RUNNING
schedule data_pipeline_users_daily: 0 6 * * * UTC RUNNING
schedule maintenance_events_daily: 30 3 * * * UTC RUNNING
schedule maintenance_orders_daily: 30 3 * * * UTC RUNNING
schedule maintenance_platform_daily: 30 3 * * * UTC RUNNING
schedule maintenance_restaurants_daily: 30 3 * * * UTC RUNNING
schedule maintenance_users_daily: 30 3 * * * UTC RUNNING
sensor discover_events: every 15 s RUNNING
sensor discover_orders: every 15 s RUNNING
sensor discover_restaurants: every 15 s RUNNING
sensor discover_users: every 15 s RUNNING
sensor offset_coverage: every 60 s RUNNING
sensor watch: every 30 s RUNNING
"""


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(load_catalog(REPOSITORY / "domains" / "domains.yaml"))


def lines(defs: dg.Definitions) -> Iterator[str]:
    """Yield a line for each asset, with what it is made of and its checks, and for what runs and watches it."""
    graph = defs.resolve_asset_graph()
    order = {key: n for n, key in enumerate(graph.toposorted_asset_keys)}
    for node in sorted(graph.asset_nodes, key=lambda node: (node.group_name, order[node.key])):
        made_of = ", ".join(sorted(key.to_user_string() for key in node.parent_keys))
        checks = sorted((not graph.get(key).blocking, key.name) for key in node.check_keys)
        daily = " daily" if node.partitions_def else ""
        who = "run" if node.is_materializable else "external"
        yield (
            f"{node.group_name}: {node.key.to_user_string()} ({who}{daily}, {'+'.join(sorted(node.kinds))})"
            + f" <- {made_of}" * bool(made_of)
            + f" [{' '.join(name + '!' * (not reported) for reported, name in checks)}]" * bool(checks)
        )
    repository = defs.get_repository_def()
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            keys = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
            yield f"job {job.name}: {', '.join(keys)}"
    for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name):
        at = f"{schedule.cron_schedule} {schedule.execution_timezone}"
        yield f"schedule {schedule.name}: {at} {schedule.default_status.value}"
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        yield f"sensor {sensor.name}: every {sensor.minimum_interval_seconds} s {sensor.default_status.value}"


def test_the_graph_is_this(defs: dg.Definitions) -> None:
    assert list(lines(defs)) == GRAPH.strip().splitlines()


def test_each_run_is_one_process(defs: dg.Definitions) -> None:
    """Also that of a backfill in the UI, which is Dagster's own job over the selected assets."""
    jobs = defs.get_repository_def().get_all_jobs()
    assert {job.executor_def.name for job in jobs} == {"in_process"}
    assert "__ASSET_JOB" in {job.name for job in jobs}


def test_every_asset_says_what_it_is(defs: dg.Definitions) -> None:
    for node in defs.resolve_asset_graph().asset_nodes:
        assert node.description, node.key
        assert node.owners, node.key
        assert node.kinds, node.key
