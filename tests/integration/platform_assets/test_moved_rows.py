"""Rows of a domain with a global key that move to another date: the sensor alone corrects the date that they left."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from audit.report import Reason, Stage
from audit.run import audit
from platform_assets.resources.warehouse import Warehouse
from platform_core.errors import TransientError
from platform_core.lake.corrections import CorrectionLedger
from platform_core.lake.key_versions import KeyVersions
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from tests.rigs.pipeline_rig import DAY, PipelineRig

NEXT = DAY + timedelta(days=1)
MOVED = "00000000-0000-0000-0000-00000000aaaa"


@pytest.fixture
def rig(pipeline_rig: PipelineRig) -> PipelineRig:
    pipeline_rig.with_global_key()
    return pipeline_rig


def run_all(rig: PipelineRig) -> list[str]:
    """Launch what the sensor asks for until it asks for nothing; return the dates in the order of their runs."""
    dates = []
    while requests := rig.sensor_tick().run_requests:
        for request in requests:
            assert request.partition_key is not None
            rig.run(date.fromisoformat(request.partition_key), discovered=True)
            dates.append(request.partition_key)
    return dates


def audited(rig: PipelineRig) -> Any:
    stages = (Stage.SILVER, Stage.GOLD, Stage.WAREHOUSE)
    return audit(settings(), rig.catalog, rig.lake, domains=["events"], dates=DateRange(), stages=stages)


def dates_of(rig: PipelineRig, table: str, column: str, value: str) -> dict[str, int]:
    rows = rig.lake.delta(table).to_pyarrow_table().to_pylist()
    return {row["event_date"].isoformat(): row.get("events", 1) for row in rows if row[column] == value}


def in_warehouse(city: str) -> list[tuple[Any, ...]]:
    query = f"SELECT EVENT_DATE, EVENTS FROM {settings().snowflake_database}.EVENTS.EVENTS WHERE CITY = '{city}'"
    with Warehouse().connect("test") as connection:
        rows: list[tuple[Any, ...]] = connection.cursor().execute(query).fetchall()
    return rows


def test_the_date_that_a_row_left_is_corrected_by_itself(rig: PipelineRig) -> None:
    rig.events_file(DAY, 6)
    rig.events_file(DAY, 1, event_id=MOVED, city="Rome")
    assert run_all(rig) == [str(DAY)]
    assert in_warehouse("Rome") == [(DAY, 1)]

    rig.events_file(NEXT, 3)
    rig.events_file(NEXT, 1, event_id=MOVED, city="Rome")
    assert len(rig.sensor_tick().run_requests) == 1
    assert rig.run(NEXT, discovered=True).success
    assert [row.status for row in rig.partitions.rows("events")] == [State.LATE, State.DONE]
    report = audited(rig)
    assert report.clean, report.problems
    assert [r.explained[Reason.NOT_PROCESSED_YET] for r in report.of(Stage.SILVER, "events")] == [1, 0]

    assert run_all(rig) == [str(DAY)]
    assert dates_of(rig, "silver/events", "event_id", MOVED) == {str(NEXT): 1}
    assert dates_of(rig, "gold/events", "city", "Rome") == {str(NEXT): 1}
    assert in_warehouse("Rome") == [(NEXT, 1)]
    [line] = [c for c in CorrectionLedger(rig.lake).read("events", DAY) if c.gold_table == "events"]
    assert (line.change, line.cause, line.new_files, line.record_difference) == ("deleted", "rows moved", 0, 0)
    report = audited(rig)
    assert report.clean, report.problems
    assert [r.explained[Reason.MOVED] for r in report.of(Stage.SILVER, "events")] == [1, 0]


def test_a_run_that_is_killed_before_the_versions_are_stored_is_resumed(
    rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.events_file(DAY, 2, city="Oslo")
    rig.events_file(DAY, 1, event_id=MOVED, city="Rome")
    assert run_all(rig) == [str(DAY)]
    rig.events_file(NEXT, 1, event_id=MOVED, city="Rome")
    assert rig.sensor_tick().run_requests
    with monkeypatch.context() as patch:
        patch.setattr(KeyVersions, "replace", lambda *_: (_ for _ in ()).throw(TransientError("killed")))
        assert not rig.run(NEXT, discovered=True).success
    # The old date was marked, and somebody runs it first: it keeps its row until the other date is delivered.
    assert rig.run(DAY).success
    assert dates_of(rig, "silver/events", "event_id", MOVED) == {str(DAY): 1, str(NEXT): 1}
    assert run_all(rig) == [str(NEXT), str(DAY)]
    assert dates_of(rig, "silver/events", "event_id", MOVED) == {str(NEXT): 1}
    assert audited(rig).clean


def test_the_advice_of_the_audit_leads_out(rig: PipelineRig) -> None:
    rig.events_file(DAY, 1, event_id=MOVED)
    rig.events_file(NEXT, 1, event_id=MOVED)
    assert rig.run(DAY, NEXT).success
    assert run_all(rig) == [str(DAY)]
    assert audited(rig).clean
    versions = KeyVersions(rig.lake, rig.events)
    versions.replace(DAY, versions.of_date(DAY).slice(0, 0))
    [problem] = audited(rig).problems
    assert (problem.day, problem.kind, problem.keys) == (DAY, "wrong_version", (f"event_id={MOVED}",))
    assert f"pdp partitions reset events {DAY}" in problem.next_step
    assert rig.run(DAY).success
    assert audited(rig).clean
