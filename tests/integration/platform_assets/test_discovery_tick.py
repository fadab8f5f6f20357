"""Ticks of discovery over a real lake and instance, without an engine: what concerns one date concerns no other."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from platform_assets.jobs import job_name
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.sensors import discovery_tick
from platform_assets.sensors.discovery_tick import RUN_KEY, Tick, tick
from platform_core.clock import SystemClock
from platform_core.lake.alert_log import AlertLog
from platform_core.lake.alerts import AlertKind
from platform_core.lake.mount import LakeNotMountedError, open_lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.listing import FILES_A_REQUEST, DiscoveryCursor
from platform_core.partitions.partition_meta import Change, Partition
from platform_core.partitions.partition_rows import PartitionRows
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import settings
from tests.rigs.fake_clock import FakeClock
from tests.rigs.pipeline_rig import DAY, PipelineRig

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)


def look(tick_rig: PipelineRig) -> Tick:
    return tick(tick_rig.events, MetadataStore(), tick_rig.instance, DiscoveryCursor(), settings())


def done(tick_rig: PipelineRig, day: date, run_id: str = "r") -> None:
    """Make a date DONE with the files of now, as a run would."""
    files = tuple(file.name for file in tick_rig.lake.list_date(tick_rig.events, day))
    pinned = {"run_id": run_id, "source_files": files, "file_hash": file_hash(files)}
    tick_rig.partitions.apply(
        [
            Change("events", day, State.PENDING, Event.RUN_STARTED, run_id=run_id, set=pinned),
            Change(
                "events", day, State.IN_FLIGHT, Event.SUCCEEDED, run_id=run_id, set={"processed_at": datetime.now(UTC)}
            ),
        ]
    )


@pytest.mark.parametrize("everything", [False, True])
def test_a_date_that_lost_bronze_stays_done_and_the_alert_names_the_file(
    tick_rig: PipelineRig, everything: bool
) -> None:
    lost, other = tick_rig.events_file(DAY, 3), tick_rig.events_file(DAY, 3)
    look(tick_rig)
    done(tick_rig, DAY)
    before = tick_rig.partitions.get("events", DAY)
    Path(tick_rig.lake.uri(lost)).unlink()
    if everything:
        Path(tick_rig.lake.uri(other)).unlink()
        Path(tick_rig.lake.uri(other)).parent.rmdir()
    tick_rig.events_file(NEXT, 1)
    for _ in range(2):
        ticked = look(tick_rig)
    assert tick_rig.partitions.get("events", DAY) == before
    assert [request.partition_key for request in ticked.run_requests] == [NEXT.isoformat()]
    [logged] = AlertLog(tick_rig.lake).read()
    assert logged.alert.kind is AlertKind.FILE_MISSING
    assert min(lost, other) if everything else lost in logged.alert.what
    assert logged.alert.command == f"pdp partitions reset events {DAY} --accept-loss"


def test_a_date_whose_compaction_note_cannot_be_read_stays_and_the_other_dates_go_on(tick_rig: PipelineRig) -> None:
    tick_rig.events_file(DAY, 3)
    look(tick_rig)
    done(tick_rig, DAY)
    before = tick_rig.partitions.get("events", DAY)
    late = tick_rig.events_file(DAY, 3)
    note = Path(tick_rig.lake.uri(late)).with_name(tick_rig.lake.compaction_note)
    note.write_bytes(b"")
    tick_rig.events_file(NEXT, 1)
    announced = DiscoveryCursor(relist=frozenset({DAY}))
    for _ in range(2):
        ticked = tick(tick_rig.events, MetadataStore(), tick_rig.instance, announced, settings())
        assert [request.partition_key for request in ticked.run_requests] == [NEXT.isoformat()]
        assert ticked.cursor is not None and ticked.cursor.relist == {DAY}
    assert tick_rig.partitions.get("events", DAY) == before
    [logged] = AlertLog(tick_rig.lake).read()
    assert logged.alert.kind is AlertKind.NOTE_UNREADABLE and str(note) in logged.alert.what
    assert "remove it" in logged.alert.what
    note.unlink()
    ticked = tick(tick_rig.events, MetadataStore(), tick_rig.instance, announced, settings())
    assert DAY.isoformat() in str(ticked.run_requests), "without the note every file counts"


def test_a_quiet_tick_reads_as_many_rows_after_a_season_as_after_a_fortnight(
    tick_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, counted, days = PartitionRows.rows, list[int](), [DAY - timedelta(days=ago) for ago in range(100)]

    def noted(self: PartitionRows, *arguments: Any) -> list[Partition]:
        counted.append(len(read := rows(self, *arguments)))
        return read

    monkeypatch.setattr(PartitionRows, "rows", noted)
    domain = tick_rig.events.model_copy(update={"start_date": days[-1]})
    read = []
    for some in (days[:14], days[14:]):
        changes = []
        for day in some:
            file = Path(tick_rig.lake.uri(tick_rig.lake.bronze_partition(domain, day))) / "part-1.parquet"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"x")
            pinned = {"file_hash": file_hash(each.name for each in tick_rig.lake.list_date(domain, day))}
            changes += [
                Change("events", day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned),
                Change("events", day, State.PENDING, Event.RUN_STARTED, run_id="r", set={"run_id": "r"}),
                Change("events", day, State.IN_FLIGHT, Event.SUCCEEDED, run_id="r"),
            ]
        tick_rig.partitions.apply(changes)
        counted.clear()
        quiet = tick(domain, MetadataStore(), tick_rig.instance, DiscoveryCursor(), settings())
        assert (quiet.run_requests, quiet.bronze) == ([], [])
        read.append(sum(counted))
    assert read == [settings().discovery_scan_files // FILES_A_REQUEST] * 2


def test_a_lake_that_is_not_mounted_is_no_domain_without_dates(tick_rig: PipelineRig) -> None:
    open_lake(tick_rig.lake, lambda: False)
    tick_rig.events_file(DAY, 2)
    cursor = look(tick_rig).cursor
    assert cursor is not None and cursor.lake_seen
    Path(tick_rig.lake.root).rename(f"{tick_rig.lake.root}.unmounted")
    tick_rig.lake.prepare()
    with pytest.raises(LakeNotMountedError, match="its disk is not mounted"):
        tick(tick_rig.events, MetadataStore(), tick_rig.instance, cursor, settings())
    assert list(Path(tick_rig.lake.root).iterdir()) == []


def test_foreign_folders_and_dates_before_the_start_concern_only_themselves(tick_rig: PipelineRig) -> None:
    tick_rig.events_file(DAY, 2)
    for day in ("1999-01-01", "20261101", "2026-W48-3"):
        folder = (
            Path(tick_rig.lake.uri(tick_rig.lake.bronze(tick_rig.events))) / f"{tick_rig.events.partition_key}={day}"
        )
        folder.mkdir()
        (folder / "part-1.parquet").write_bytes(b"x")
    tick_rig.partitions.apply([Change("events", date(1999, 1, 2), State.UNDISCOVERED, Event.FILES_FOUND)])
    assert [request.partition_key for request in look(tick_rig).run_requests] == [DAY.isoformat()]
    assert [row.partition_date for row in tick_rig.partitions.rows("events")] == [date(1999, 1, 2), DAY]
    assert AlertLog(tick_rig.lake).read() == []


def test_runs_that_come_to_nothing_are_launched_ever_more_rarely(
    tick_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick_rig.events_file(DAY, 2)
    [first] = look(tick_rig).run_requests
    need = str(first.run_key).rpartition("#")[0]
    for number in range(6):
        run = dg.DagsterRun(
            job_name=job_name(tick_rig.events), status=dg.DagsterRunStatus.FAILURE, tags={RUN_KEY: f"{need}#{number}"}
        )
        tick_rig.instance.add_run(run)
        tick_rig.events_file(DAY, 1)
        assert look(tick_rig).run_requests == [], "the engine is down, say: the last run has just failed"
        ended = tick_rig.instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0].update_timestamp
        pause = min(discovery_tick.AGAIN_AFTER * 2**number, discovery_tick.AGAIN_AT_LEAST_EVERY)
        assert pause <= timedelta(minutes=15)
        with monkeypatch.context() as patched:
            patched.setattr(SystemClock, "now", lambda _, at=ended + pause: at)
            [request] = look(tick_rig).run_requests
        assert request.run_key == f"{need}#{number + 1}"


def test_a_run_whose_lease_expired_is_over_for_the_orchestrator_too(tick_rig: PipelineRig) -> None:
    tick_rig.events_file(DAY, 2)
    look(tick_rig)
    run = dg.DagsterRun(job_name=job_name(tick_rig.events), status=dg.DagsterRunStatus.STARTED)
    tick_rig.instance.add_run(run)
    held = {"run_id": run.run_id}
    tick_rig.partitions.apply([Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id=run.run_id, set=held)])
    cursor, clock = DiscoveryCursor(), FakeClock(datetime.now(UTC))

    def again() -> None:
        nonlocal cursor
        done = tick(tick_rig.events, MetadataStore(), tick_rig.instance, cursor, settings(), clock=clock)
        assert done.cursor is not None
        cursor = done.cursor

    again()
    clock.step(hours=1)
    again()
    assert tick_rig.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED, "a clock was set"
    clock.advance(seconds=settings().partition_lease_seconds + 1)
    again()
    assert tick_rig.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE, "its pool stays taken"
    assert tick_rig.partitions.get("events", DAY).status is State.FAILED


@pytest.mark.parametrize("minutes_off", [-5, 5])
def test_a_date_rests_by_the_stores_clock_whatever_the_daemons_says(
    tick_rig: PipelineRig, minutes_off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTITION_SETTLE_SECONDS", "60")
    settings.cache_clear()
    tick_rig.events_file(DAY, 2)
    clock = FakeClock(datetime.now(UTC) + timedelta(minutes=minutes_off))

    def requests() -> list[dg.RunRequest]:
        return tick(
            tick_rig.events, MetadataStore(), tick_rig.instance, DiscoveryCursor(), settings(), clock=clock
        ).run_requests

    assert not requests(), "the file has just come"
    [file] = tick_rig.lake.list_date(tick_rig.events, DAY)
    path, earlier = tick_rig.lake.uri(file.name), time.time() - 61
    os.utime(path, (earlier, earlier))
    assert requests()


def test_a_run_that_dies_without_a_date_frees_its_pool(tick_rig: PipelineRig) -> None:
    tick_rig.events_file(DAY, 2)
    other = tick_rig.catalog["orders"]
    started = dg.DagsterRunStatus.STARTED
    tags = {"dagster/partition": DAY.isoformat()}
    [before, between, holder, foreign] = [
        tick_rig.instance.add_run(dg.DagsterRun(job_name=name, status=started, tags=tags)).run_id
        for name in [job_name(tick_rig.events)] * 3 + [job_name(other)]
    ]
    look(tick_rig)
    done(tick_rig, DAY, between)
    tick_rig.partitions.apply([Change("events", NEXT, State.UNDISCOVERED, Event.FILES_FOUND)])
    held = {"run_id": holder}
    tick_rig.partitions.apply([Change("events", NEXT, State.PENDING, Event.RUN_STARTED, run_id=holder, set=held)])
    cursor, clock = DiscoveryCursor(), FakeClock(datetime.now(UTC))
    lease = settings().partition_lease_seconds

    def statuses(later: float) -> dict[str, dg.DagsterRunStatus]:
        nonlocal cursor
        tick_rig.partitions.apply([Change("events", NEXT, State.IN_FLIGHT, Event.RENEWED, run_id=holder)])
        clock.advance(seconds=later)
        ticked = tick(tick_rig.events, MetadataStore(), tick_rig.instance, cursor, settings(), clock=clock)
        assert ticked.cursor is not None
        cursor = DiscoveryCursor.from_json(ticked.cursor.to_json())
        return {run.run_id: run.status for run in tick_rig.instance.get_runs()}

    everyone = dict.fromkeys([before, between, holder, foreign], started)
    assert statuses(0) == everyone
    assert statuses(discovery_tick.IDLE_LEASES * lease) == everyone, "a slow start is no death"
    over = dg.DagsterRunStatus.FAILURE
    assert statuses(1) == everyone | {before: over, between: over}
