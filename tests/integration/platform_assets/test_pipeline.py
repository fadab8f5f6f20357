"""Dates of a domain through Dagster: outcomes a date, late data, blocked dates, refused claims, the warehouse."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import dagster as dg
import pytest
from snowflake.connector.cursor import SnowflakeCursor
from snowflake.connector.errors import ProgrammingError

from alerting.collect import check_alerts
from audit import checks
from audit.report import CheckOutcome
from audit.stages import bronze_to_silver, gold_to_warehouse, kafka_to_bronze, silver_to_gold, source_to_silver
from platform_assets.resources.warehouse import Warehouse
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import settings
from tests.rigs.pipeline_rig import DAY, PipelineRig
from warehouse import load, totals

NEXT = DAY + timedelta(days=1)


def warehouse_rows(sql: str) -> list[tuple[Any, ...]]:
    with Warehouse().connect("test") as connection:
        rows: list[tuple[Any, ...]] = (
            connection.cursor().execute(sql.replace("DB.", f"{settings().snowflake_database}.")).fetchall()
        )
    return rows


def materialized(pipeline_rig: PipelineRig, key: list[str]) -> set[str]:
    return set(pipeline_rig.instance.get_materialized_partitions(dg.AssetKey(key)))


def column_lineage(pipeline_rig: PipelineRig, key: list[str]) -> dict[str, list[tuple[str, str]]]:
    event = pipeline_rig.instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None and event.asset_materialization is not None
    value = event.asset_materialization.metadata["dagster/column_lineage"].value
    assert isinstance(value, dg.TableColumnLineage)
    return {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for column, deps in value.deps_by_column.items()
    }


def shown(pipeline_rig: PipelineRig, key: list[str]) -> dict[str, Any]:
    event = pipeline_rig.instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None and event.asset_materialization is not None
    return {name: entry.value for name, entry in event.asset_materialization.metadata.items()}


def test_a_date_goes_from_bronze_to_the_warehouse(pipeline_rig: PipelineRig) -> None:
    names = sorted([pipeline_rig.events_file(DAY, 30), pipeline_rig.events_file(DAY, 12)])
    result = pipeline_rig.run(DAY)
    assert result.success

    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.record_count, row.silver_records) == (State.DONE, 42, 42)
    assert list(row.source_files) == names
    assert [t.to_status for t in pipeline_rig.partitions.history("events", DAY)] == ["PENDING", "IN_FLIGHT", "DONE"]

    for key in (["silver", "events"], ["gold", "events"], ["gold", "events_funnel"], ["snowflake", "events"]):
        assert materialized(pipeline_rig, key) == {DAY.isoformat()}
    checks = result.get_asset_check_evaluations()
    assert len(checks) == 13
    assert all(check.passed for check in checks)

    assert column_lineage(pipeline_rig, ["silver", "events"])["properties_json"] == [("bronze/events", "properties")]
    assert column_lineage(pipeline_rig, ["gold", "events"])["users"] == [("silver/events", "user_id")]
    assert column_lineage(pipeline_rig, ["snowflake", "events"])["city"] == [
        ("gold/events", "city"),
        ("gold/events_funnel", "city"),
    ]

    for column in shown(pipeline_rig, ["gold", "events_funnel"])["dagster/column_schema"].columns:
        assert column.description, column.name
    numbers = shown(pipeline_rig, ["silver", "events"])
    assert {name: numbers[name] for name in ("rows", "quarantined", "late_records")} == {
        "rows": 42,
        "quarantined": 0,
        "late_records": 0,
    }

    assert shown(pipeline_rig, ["gold", "events"])["sum(events)"] == 42, "a total is a number, which the UI plots"

    silver = pipeline_rig.lake.delta("silver/events").to_pyarrow_table()
    assert silver.num_rows == 42
    assert warehouse_rows("SELECT SUM(EVENTS), COUNT(DISTINCT CITY) FROM DB.EVENTS.EVENTS") == [(42, 2)]
    assert warehouse_rows("SELECT COUNT(*) FROM DB.PLATFORM.LOADS") == [(2,)]


@contextmanager
def calls_of(*functions: Callable[..., Any]) -> Iterator[Counter[str]]:
    """Count the calls of functions, whatever name a module has imported them under."""
    wanted = {function.__code__: f"{function.__module__}.{function.__name__}" for function in functions}
    counted: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in wanted:
            counted[wanted[frame.f_code]] += 1

    sys.setprofile(profile)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def test_nothing_is_compared_twice_in_a_run(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 8)
    comparisons = (
        checks.check_silver,
        bronze_to_silver.compare,
        silver_to_gold.compare,
        silver_to_gold._compare_table,
        gold_to_warehouse.compare,
        kafka_to_bronze.compare,
        source_to_silver.compare,
        source_to_silver.compare_totals,
        load._compare,
        totals.totals_of_gold,
        totals.totals_of_warehouse,
    )
    with calls_of(*comparisons) as counted:
        assert pipeline_rig.run(DAY).success
    tables = len(pipeline_rig.events.gold.tables)
    assert counted == {
        "audit.checks.check_silver": 1,
        "audit.stages.bronze_to_silver.compare": 1,
        "audit.stages.silver_to_gold.compare": 1,
        "audit.stages.silver_to_gold._compare_table": tables,
        "warehouse.load._compare": tables,
        "warehouse.totals.totals_of_gold": tables,
        "warehouse.totals.totals_of_warehouse": tables,
    }


def test_an_audit_that_fails_raises_an_alert_and_the_date_stays_loaded(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 5)
    problem = {"stage": "silver", "kind": "missing_in_silver", "count": 2}
    failed = CheckOutcome("snowflake", "events", "audit", False, {"problems": [problem]})
    monkeypatch.setattr("processing.one_date.check_audit", lambda *_: failed)
    pipeline_rig.run(DAY)
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None and row.status is State.DONE
    [alert] = check_alerts([row], pipeline_rig.partitions.history("events", DAY), "http://ui.test")
    assert "silver missing_in_silver 2" in alert.what
    assert alert.command == f"pdp audit --domain events --date {DAY}"


def test_a_second_run_changes_nothing(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 20)
    assert pipeline_rig.run(DAY).success
    before = (
        warehouse_rows("SELECT * FROM DB.EVENTS.EVENTS ORDER BY 1, 2, 3, 4"),
        warehouse_rows("SELECT * FROM DB.PLATFORM.LOADS"),
    )
    silver = pipeline_rig.lake.delta("silver/events").to_pyarrow_table().sort_by("event_id")
    assert pipeline_rig.run(DAY).success
    after = (
        warehouse_rows("SELECT * FROM DB.EVENTS.EVENTS ORDER BY 1, 2, 3, 4"),
        warehouse_rows("SELECT * FROM DB.PLATFORM.LOADS"),
    )
    assert after == before
    assert pipeline_rig.lake.delta("silver/events").to_pyarrow_table().sort_by("event_id") == silver


def test_of_a_range_the_bad_date_fails_alone(pipeline_rig: PipelineRig) -> None:
    days = [DAY + timedelta(days=n) for n in range(3)]
    for day in days:
        pipeline_rig.events_file(day, 10)
    pipeline_rig.events_file(days[1], 9, device_type="toaster")  # 9 of 19 rows break a rule: far over the allowed ratio
    result = pipeline_rig.run(days[0], days[-1])
    assert not result.success
    assert [row.status for row in pipeline_rig.partitions.rows("events")] == [State.DONE, State.FAILED, State.DONE]
    good = {days[0].isoformat(), days[2].isoformat()}
    assert materialized(pipeline_rig, ["gold", "events"]) == good
    assert materialized(pipeline_rig, ["snowflake", "events"]) == good
    assert warehouse_rows("SELECT COUNT(DISTINCT EVENT_DATE) FROM DB.EVENTS.EVENTS") == [(2,)]
    failed = pipeline_rig.partitions.get("events", days[1])
    assert failed is not None
    assert "quarantine_ratio" in str(failed.error_message)

    tick = pipeline_rig.sensor_tick()  # the same input fails again, so it is not retried
    assert not tick.run_requests
    assert pipeline_rig.partitions.rows("events")[1].status is State.DEAD


def test_late_records_are_found_and_corrected(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 10)
    pipeline_rig.events_file(NEXT, 10)
    tick = pipeline_rig.sensor_tick()
    [request] = tick.run_requests
    assert request.tags["dagster/asset_partition_range_end"] == NEXT.isoformat()
    assert {m.partition for m in tick.asset_events} == {DAY.isoformat(), NEXT.isoformat()}
    assert pipeline_rig.run(DAY, NEXT, discovered=True).success
    assert not pipeline_rig.sensor_tick().run_requests

    untouched = pipeline_rig.partitions.get("events", NEXT)
    pipeline_rig.events_file(DAY, 5)
    [request] = pipeline_rig.sensor_tick().run_requests
    assert request.partition_key == DAY.isoformat()
    assert pipeline_rig.run(DAY, discovered=True).success
    assert shown(pipeline_rig, ["silver", "events"])["late_records"] == 5
    history = [t.to_status for t in pipeline_rig.partitions.history("events", DAY)]
    assert history == ["PENDING", "IN_FLIGHT", "DONE", "LATE", "REPROCESSING", "IN_FLIGHT", "DONE"]
    assert pipeline_rig.partitions.get("events", NEXT) == untouched
    assert warehouse_rows(f"SELECT SUM(EVENTS) FROM DB.EVENTS.EVENTS WHERE EVENT_DATE = '{DAY}'") == [(15,)]


def test_a_group_that_vanished_leaves_gold_and_the_warehouse(pipeline_rig: PipelineRig) -> None:
    wrong = pipeline_rig.events_file(DAY, 4, city="Nowhere")
    pipeline_rig.events_file(DAY, 10)
    assert pipeline_rig.run(DAY).success
    assert warehouse_rows("SELECT COUNT(*) FROM DB.EVENTS.EVENTS WHERE CITY = 'Nowhere'") == [(1,)]
    Path(pipeline_rig.lake.uri(wrong)).unlink()
    before = pipeline_rig.partitions.get("events", DAY)
    assert before is not None
    assert not pipeline_rig.run(DAY).success, "a file that was lost is no correction"
    assert pipeline_rig.partitions.get("events", DAY) == before
    assert warehouse_rows("SELECT COUNT(*) FROM DB.EVENTS.EVENTS WHERE CITY = 'Nowhere'") == [(1,)]
    kept = tuple(name for name in before.source_files if name != wrong)
    reset = Change("events", DAY, State.DONE, Event.RESET, set={"source_files": kept}, detail={"gone_files": 1})
    pipeline_rig.partitions.apply([reset])  # as `pdp partitions reset --accept-loss` does
    assert pipeline_rig.run(DAY).success
    assert warehouse_rows("SELECT COUNT(*) FROM DB.EVENTS.EVENTS WHERE CITY = 'Nowhere'") == [(0,)]


def test_discovery_does_not_repeat_what_a_person_already_ran(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 3)
    assert pipeline_rig.run(DAY).success
    before = pipeline_rig.partitions.get("events", DAY)
    assert pipeline_rig.run(DAY, discovered=True).success
    assert pipeline_rig.partitions.get("events", DAY) == before


def test_a_date_that_another_run_holds_is_refused(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 3)
    other = pipeline_rig.instance.create_run_for_job(
        pipeline_rig.defs.resolve_job_def("data_pipeline_events"), status=dg.DagsterRunStatus.STARTED
    )
    pipeline_rig.partitions.apply(
        [
            Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND),
            Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id=other.run_id, set={"run_id": other.run_id}),
        ]
    )
    result = pipeline_rig.run(DAY)
    assert not result.success
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.run_id) == (State.IN_FLIGHT, other.run_id)

    pipeline_rig.instance.report_run_failed(other)  # it died: discovery frees the date, the retry makes it DONE
    pipeline_rig.sensor_tick()
    assert pipeline_rig.sensor_tick().run_requests
    assert pipeline_rig.run(DAY, discovered=True).success
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert row.status is State.DONE


def test_a_date_without_bronze_is_no_failure(pipeline_rig: PipelineRig) -> None:
    assert pipeline_rig.run(DAY).success
    assert pipeline_rig.partitions.get("events", DAY) is None
    assert not materialized(pipeline_rig, ["silver", "events"])


@pytest.mark.parametrize("statement", ["DELETE FROM", "MERGE INTO", "INSERT INTO", "COMMIT"])
def test_a_load_that_fails_halfway_changes_nothing(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    pipeline_rig.events_file(DAY, 10)
    assert pipeline_rig.run(DAY).success
    before = warehouse_rows("SELECT * FROM DB.EVENTS.EVENTS ORDER BY 1, 2, 3, 4")
    pipeline_rig.events_file(DAY, 10, city="Rome")
    execute = SnowflakeCursor.execute

    def failing(self: SnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> Any:
        if command.startswith(statement):
            raise ProgrammingError("injected")
        return execute(self, command, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SnowflakeCursor, "execute", failing)
        assert not pipeline_rig.run(DAY).success
    assert warehouse_rows("SELECT * FROM DB.EVENTS.EVENTS ORDER BY 1, 2, 3, 4") == before
    staging = warehouse_rows(
        "SELECT COUNT(*) FROM DB.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE 'STG_%' AND TABLE_SCHEMA = 'EVENTS'"
    )
    assert staging == [(0,)]
    pipeline_rig.sensor_tick()
    assert pipeline_rig.run(DAY).success
    assert warehouse_rows("SELECT COUNT(*) FROM DB.EVENTS.EVENTS WHERE CITY = 'Rome'") == [(1,)]
