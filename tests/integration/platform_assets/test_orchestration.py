"""What makes the orchestration trustworthy: pinned files, gates, corrections, staleness, interruption, repetition."""

from __future__ import annotations

import hashlib
import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from audit.report import CheckOutcome, Stage, StageResult
from maintenance.delta_table import maintain
from maintenance.held_versions import held_versions
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.resources.warehouse import Warehouse
from platform_assets.sensors.discovery_tick import tick
from platform_core.domain.catalog import OnFailure, Rule
from platform_core.lake.corrections import CorrectionLedger
from platform_core.lake.lake import Lake
from platform_core.partitions.listing import DiscoveryCursor
from platform_core.partitions.partition_state import State
from platform_core.settings import settings
from processing import one_date
from spark_jobs import bronze_to_silver
from spark_jobs.engine.session import connect
from spark_jobs.writing import gold_merge
from tests.rigs.pipeline_rig import DAY, PipelineRig

NEXT = DAY + timedelta(days=1)
LONG_AGO = DAY - timedelta(days=150)
TABLES = ("silver/events", "gold/events", "gold/events_funnel")


def status(pipeline_rig: PipelineRig, day: Any = DAY) -> State | None:
    row = pipeline_rig.partitions.get("events", day)
    return row.status if row else None


def files_of(pipeline_rig: PipelineRig, table: str, day: Any = None) -> list[str]:
    """Return the table's live data files, of one date or of all."""
    delta = pipeline_rig.lake.delta(table)
    filters = [("event_date", "=", day.isoformat())] if day else None
    return sorted(delta.file_uris(file_pruning_predicate=filters))


def checks_of(pipeline_rig: PipelineRig, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key.path[0] == "silver"}


def loads(pipeline_rig: PipelineRig) -> list[tuple[Any, ...]]:
    with Warehouse().connect("test") as connection:
        ledger = f"{settings().snowflake_database}.PLATFORM.LOADS"
        sql = f"SELECT PARTITION_DATE, TABLE_NAME, FINGERPRINT, LOADED_AT FROM {ledger}"
        return sorted(connection.cursor().execute(sql).fetchall(), key=repr)


def test_a_record_150_days_late_reruns_that_date_only(pipeline_rig: PipelineRig) -> None:
    for day in (LONG_AGO, DAY, NEXT):
        pipeline_rig.events_file(day, 8)
        assert pipeline_rig.run(day).success
    untouched = {(table, day): files_of(pipeline_rig, table, day) for table in TABLES for day in (DAY, NEXT)}
    before = loads(pipeline_rig)
    pipeline_rig.events_file(LONG_AGO, 1, city="Rome")
    [request] = pipeline_rig.sensor_tick().run_requests
    assert request.partition_key == LONG_AGO.isoformat()
    assert request.tags["dagster/priority"] == "10"
    assert pipeline_rig.run(LONG_AGO, discovered=True).success
    assert {(table, day): files_of(pipeline_rig, table, day) for table in TABLES for day in (DAY, NEXT)} == untouched
    assert [row for row in loads(pipeline_rig) if row not in before and row[0] != LONG_AGO] == []
    assert not pipeline_rig.sensor_tick().run_requests

    late = next(t for t in pipeline_rig.partitions.history("events", LONG_AGO) if t.to_status == "LATE")
    assert '"new_files": 1' in late.detail
    assert '"new_records": 1' in late.detail


def way(pipeline_rig: PipelineRig) -> Any:
    """Return how the last date that was corrected was processed, as the UI shows it."""
    event = pipeline_rig.instance.get_latest_materialization_event(dg.AssetKey(["silver", "events"]))
    assert event is not None and event.asset_materialization is not None
    return event.asset_materialization.metadata["way"].value


def test_a_reprocess_leaves_its_correction(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 50)
    assert pipeline_rig.run(DAY).success
    ledger = CorrectionLedger(pipeline_rig.lake)
    assert ledger.read() == [], "a first time corrects nothing"

    pipeline_rig.events_file(DAY, 4, city="Rome")
    pipeline_rig.sensor_tick()
    assert pipeline_rig.run(DAY, discovered=True).success
    lines = [line for line in ledger.read("events", DAY) if line.gold_table == "events"]
    [line] = lines
    assert (line.change, line.cause, line.new_files, line.record_difference) == ("inserted", "late files", 1, 4)
    assert '"city": "Rome"' in line.key
    assert '"events": 4' in str(line.after)
    assert way(pipeline_rig) == "corrected by the keys of 4 rows in 1 new file, which 0 earlier rows had"

    assert pipeline_rig.run(DAY).success
    assert way(pipeline_rig) == "processed as a whole: a person asked for the date"
    again = {line.cause: line.change for line in ledger.read("events", DAY)}
    assert again["backfill"] == "none", "a person's run over the same files changes nothing, and says so"


def test_a_correction_survives_a_failed_attempt(pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline_rig.events_file(DAY, 50)
    assert pipeline_rig.run(DAY).success
    pipeline_rig.events_file(DAY, 4, city="Rome")
    pipeline_rig.sensor_tick()
    with monkeypatch.context() as patch:
        # Gold is merged by then, so its rows before the correction are gone from the table's newest version.
        patch.setattr(one_date, "load_date", lambda *_, **__: 1 / 0)
        assert not pipeline_rig.run(DAY, discovered=True).success
    pipeline_rig.events_file(DAY, 1, city="Oslo")
    assert pipeline_rig.sensor_tick().run_requests
    assert pipeline_rig.run(DAY, discovered=True).success
    assert way(pipeline_rig) == "processed as a whole: more has happened to the date than that files came"
    lines = [line for line in CorrectionLedger(pipeline_rig.lake).read("events", DAY) if line.gold_table == "events"]
    assert {line.change for line in lines} == {"inserted"}
    assert len(lines) == 2
    assert {(line.new_files, line.record_difference) for line in lines} == {(2, 5)}


def correct_and_fail_behind_gold(pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a late date whose Gold is merged and whose load failed."""
    pipeline_rig.events_file(DAY, 10)
    assert pipeline_rig.run(DAY).success
    pipeline_rig.events_file(DAY, 4)  # it changes groups that exist, so that files are replaced
    pipeline_rig.sensor_tick()
    with monkeypatch.context() as patch:
        patch.setattr(one_date, "load_date", lambda *_, **__: 1 / 0)
        assert not pipeline_rig.run(DAY, discovered=True).success


def test_a_correction_whose_history_is_gone_says_so_and_the_date_is_done(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct_and_fail_behind_gold(pipeline_rig, monkeypatch)
    for table in ("gold/events", "gold/events_funnel"):
        pipeline_rig.lake.delta(table).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert pipeline_rig.sensor_tick().run_requests
    assert pipeline_rig.run(DAY, discovered=True).success
    assert status(pipeline_rig) is State.DONE
    changes = {line.gold_table: line.change for line in CorrectionLedger(pipeline_rig.lake).read("events", DAY)}
    assert changes == {"events": "unknown", "events_funnel": "none"}, "the funnel's file is still that of before"


def test_no_maintenance_takes_away_what_a_correction_compares_with(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct_and_fail_behind_gold(pipeline_rig, monkeypatch)
    job = pipeline_rig.defs.resolve_job_def("maintenance_events")
    assert job.execute_in_process(instance=pipeline_rig.instance).success
    held = held_versions(pipeline_rig.events, pipeline_rig.partitions)
    for table in ("gold/events", "gold/events_funnel"):
        maintain(pipeline_rig.lake, table, timedelta(0), held[table.removeprefix("gold/")])
    assert pipeline_rig.sensor_tick().run_requests
    assert pipeline_rig.run(DAY, discovered=True).success
    changes = {line.gold_table: line.change for line in CorrectionLedger(pipeline_rig.lake).read("events", DAY)}
    assert changes == {"events": "updated", "events_funnel": "none"}


def test_an_engine_that_is_down_costs_no_date_a_retry(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 5)
    pipeline_rig.sensor_tick()
    before = pipeline_rig.partitions.get("events", DAY)
    with monkeypatch.context() as patch:
        patch.setenv("SPARK_REMOTE", "sc://127.0.0.1:1")
        settings.cache_clear()
        assert not pipeline_rig.run(DAY, discovered=True).success
    settings.cache_clear()
    assert pipeline_rig.partitions.get("events", DAY) == before
    assert pipeline_rig.run(DAY, discovered=True).success


def test_a_file_that_lands_during_the_run_makes_the_date_late(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 5)
    run = bronze_to_silver.run

    def landing(*args: Any, **kwargs: Any) -> Any:
        pipeline_rig.events_file(DAY, 2)
        return run(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(bronze_to_silver, "run", landing)
        assert pipeline_rig.run(DAY).success
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.record_count) == (State.DONE, 5)
    [request] = pipeline_rig.sensor_tick().run_requests
    assert request.partition_key == DAY.isoformat()
    assert pipeline_rig.run(DAY, discovered=True).success
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert (row.status, row.record_count) == (State.DONE, 7)


def test_the_gate_refuses_a_date_and_nothing_published_changes(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 20)
    assert pipeline_rig.run(DAY).success
    before = {table: files_of(pipeline_rig, table) for table in TABLES} | {"loads": loads(pipeline_rig)}
    rule = Rule(name="no_toasters", expression="device_type <> 'toaster'", on_failure=OnFailure.FAIL)
    pipeline_rig.with_quality(rules=(*pipeline_rig.events.quality.rules, rule), max_quarantined_ratio=1.0)
    strict = tuple(r.model_copy(update={"on_failure": OnFailure.WARN}) for r in pipeline_rig.events.quality.rules[:-1])
    pipeline_rig.with_quality(rules=(*strict, rule))

    pipeline_rig.events_file(DAY, 1, device_type="toaster")
    result = pipeline_rig.run(DAY)
    assert not result.success
    assert {table: files_of(pipeline_rig, table) for table in TABLES} | {"loads": loads(pipeline_rig)} == before
    assert status(pipeline_rig) is State.FAILED
    check = checks_of(pipeline_rig, result)["accepted_values"]
    assert (check.passed, check.severity, check.partition) == (False, dg.AssetCheckSeverity.ERROR, DAY.isoformat())
    quarantine = pipeline_rig.lake.delta("silver/events_quarantine").to_pyarrow_table().to_pylist()
    assert [(row["rule"], row["offset"]) for row in quarantine] == [("no_toasters", 21)]

    pipeline_rig.with_quality(rules=strict)  # the rule was wrong: the fix, then the replay of the same Bronze
    assert pipeline_rig.run(DAY).success
    assert pipeline_rig.lake.delta("silver/events_quarantine").to_pyarrow_table().num_rows == 0
    assert pipeline_rig.lake.delta("silver/events").to_pyarrow_table().num_rows == 21


def test_rules_warn_quarantine_and_thresholds(pipeline_rig: PipelineRig) -> None:
    old = Rule(name="not_oslo", expression="city <> 'Oslo'", on_failure=OnFailure.WARN)
    pipeline_rig.with_quality(rules=(*pipeline_rig.events.quality.rules, old), warn_quarantined_ratio=0.02)
    pipeline_rig.events_file(DAY, 90)
    pipeline_rig.events_file(DAY, 6, city="Oslo")
    pipeline_rig.events_file(DAY, 4, device_type="toaster")
    result = pipeline_rig.run(DAY)
    assert result.success
    checks = checks_of(pipeline_rig, result)
    assert (checks["accepted_values"].passed, checks["accepted_values"].severity) == (
        False,
        dg.AssetCheckSeverity.WARN,
    )
    warned = checks["accepted_values"].metadata["warned"]
    assert isinstance(warned, dg.TableMetadataValue)
    assert [record.data for record in warned.records] == [{"name": "not_oslo", "value": 6}]
    ratio = checks["quarantine_ratio"]
    assert (ratio.passed, ratio.severity, ratio.metadata["ratio"].value) == (False, dg.AssetCheckSeverity.WARN, 0.04)
    cities = pipeline_rig.lake.delta("silver/events").to_pyarrow_table().column("city").to_pylist()
    assert cities.count("Oslo") == 6
    assert len(cities) == 96


def test_an_unusual_volume_warns_and_is_published(pipeline_rig: PipelineRig) -> None:
    days = [DAY + timedelta(days=n) for n in range(4)]
    for day, rows in zip(days, (20, 22, 18, 5), strict=True):
        pipeline_rig.events_file(day, rows)
    for day in days[:3]:
        assert checks_of(pipeline_rig, pipeline_rig.run(day))["volume"].passed
    volume = checks_of(pipeline_rig, pipeline_rig.run(days[3]))["volume"]
    assert (volume.passed, volume.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert volume.metadata["usual"].value == 20
    assert status(pipeline_rig, days[3]) is State.DONE


def test_gold_that_fails_its_check_is_never_merged(pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline_rig.events_file(DAY, 12)
    assert pipeline_rig.run(DAY).success
    before = {table: files_of(pipeline_rig, table) for table in TABLES[1:]} | {"loads": loads(pipeline_rig)}
    pipeline_rig.events_file(DAY, 3, city="Rome")
    with monkeypatch.context() as patch:
        wrong = CheckOutcome("gold", "events", "reconciles_with_silver", False, {"planted": 1})
        patch.setattr(one_date, "compare_gold", lambda *_: StageResult(Stage.GOLD, "events", DAY, checks=(wrong,)))
        merged = {table: pipeline_rig.lake.delta(table).version() for table in TABLES[1:]}
        assert not pipeline_rig.run(DAY).success
    assert {table: pipeline_rig.lake.delta(table).version() for table in TABLES[1:]} == merged, "it never was published"
    assert {table: files_of(pipeline_rig, table) for table in TABLES[1:]} | {"loads": loads(pipeline_rig)} == before
    assert pipeline_rig.run(DAY).success
    assert loads(pipeline_rig) != before["loads"]


def test_gold_that_is_not_what_was_merged_is_taken_back(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 12)
    assert pipeline_rig.run(DAY).success
    before = {table: files_of(pipeline_rig, table) for table in TABLES[1:]} | {"loads": loads(pipeline_rig)}
    pipeline_rig.events_file(DAY, 3, city="Rome")
    merge = gold_merge.merge_partition

    def merging_less(spark: Any, rows: pa.Table, *args: Any) -> Any:
        return merge(spark, rows.filter(pc.field("city") != "Rome"), *args)

    with monkeypatch.context() as patch:
        patch.setattr(gold_merge, "merge_partition", merging_less)
        assert not pipeline_rig.run(DAY).success
    assert {table: files_of(pipeline_rig, table) for table in TABLES[1:]} | {"loads": loads(pipeline_rig)} == before
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None and "has other rows than were merged" in str(row.error_message)


def test_the_catalog_shows_what_is_stale(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 5)
    assert pipeline_rig.run(DAY).success

    def stale(key: list[str]) -> StaleStatus:
        context = LoadingContextForTest(pipeline_rig.instance)
        resolver = CachingStaleStatusResolver(pipeline_rig.instance, pipeline_rig.defs.resolve_asset_graph(), context)
        return resolver.get_status(dg.AssetKey(key), DAY.isoformat())

    assert [stale(["silver", "events"]), stale(["gold", "events"])] == [StaleStatus.FRESH] * 2
    pipeline_rig.events_file(DAY, 1)
    for event in pipeline_rig.sensor_tick().asset_events:
        pipeline_rig.instance.report_runless_asset_event(event)
    assert stale(["silver", "events"]) is StaleStatus.STALE
    assert pipeline_rig.run(DAY, discovered=True).success
    keys = (["silver", "events"], ["gold", "events"], ["gold", "events_funnel"], ["snowflake", "events"])
    assert {tuple(key): stale(key) for key in keys} == dict.fromkeys(map(tuple, keys), StaleStatus.FRESH)
    pipeline_rig.with_quality(max_quarantined_ratio=0.5)
    assert stale(["silver", "events"]) is StaleStatus.STALE, "the domain's code is another"


def test_an_interrupted_run_leaves_its_date_retryable(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 5)
    pipeline_rig.sensor_tick()

    def cancelled(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bronze_to_silver, "run", cancelled)
        assert not pipeline_rig.run(DAY, discovered=True).success
    assert status(pipeline_rig) is State.FAILED
    assert pipeline_rig.sensor_tick().run_requests
    assert pipeline_rig.run(DAY, discovered=True).success
    assert status(pipeline_rig) is State.DONE


def test_of_two_runs_of_one_date_one_works(pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline_rig.events_file(DAY, 5)
    pipeline_rig.sensor_tick()
    run, others = bronze_to_silver.run, list[Any]()

    def while_another_starts(*args: Any, **kwargs: Any) -> Any:
        if not others:
            others.append("started")
            others.append(pipeline_rig.run(DAY, discovered=True))
        return run(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(bronze_to_silver, "run", while_another_starts)
        assert pipeline_rig.run(DAY, discovered=True).success
    assert others[1].success, "it found the date taken, and left it alone"
    events = [t.event for t in pipeline_rig.partitions.history("events", DAY)]
    assert events == ["files_found", "run_started", "succeeded"]


def test_a_date_that_hangs_is_failed_and_its_job_ended(
    pipeline_rig: PipelineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_rig.events_file(DAY, 5)
    pipeline_rig.sensor_tick()

    def hanging(spark: Any, *_: Any, **__: Any) -> None:
        spark.range(10**13).selectExpr("sum(id % 7)").collect()

    with monkeypatch.context() as patch:
        patch.setattr(bronze_to_silver, "run", hanging)
        patch.setenv("PARTITION_TIMEOUT_SECONDS", "2")
        settings.cache_clear()
        pipeline_rig.with_quality()  # the definitions are made anew, with the settings of now
        assert not pipeline_rig.run(DAY, discovered=True).success
    settings.cache_clear()
    row = pipeline_rig.partitions.get("events", DAY)
    assert row is not None
    assert row.status is State.FAILED
    assert "took more than 2 s" in str(row.error_message)
    assert pipeline_rig.sensor_tick().run_requests, "it may pass: it is retried"


def test_a_backfill_by_sql_is_obeyed_by_the_next_tick(pipeline_rig: PipelineRig) -> None:
    pipeline_rig.events_file(DAY, 6)
    assert pipeline_rig.run(DAY).success
    assert not pipeline_rig.sensor_tick().run_requests
    table = pipeline_rig.lake.delta(pipeline_rig.lake.partition_meta)
    table.update({"status": "'PENDING'", "retry_count": "0"}, predicate=f"partition_date = '{DAY}'")
    [request] = pipeline_rig.sensor_tick().run_requests
    assert request.partition_key == DAY.isoformat()
    assert pipeline_rig.run(DAY, discovered=True).success
    assert status(pipeline_rig) is State.DONE
    assert {line.cause for line in CorrectionLedger(pipeline_rig.lake).read("events", DAY)} == {"backfill"}


def test_two_schedulers_that_tick_at_once_make_each_transition_once(pipeline_rig: PipelineRig) -> None:
    days = [DAY + timedelta(days=n) for n in range(4)]
    for day in days:
        pipeline_rig.events_file(day, 2)
    together = threading.Barrier(2)
    found = []

    def scheduler() -> None:
        together.wait()
        found.append(tick(pipeline_rig.events, MetadataStore(), pipeline_rig.instance, DiscoveryCursor(), settings()))

    threads = [threading.Thread(target=scheduler) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = pipeline_rig.partitions.history("events")
    assert sorted(t.partition_date for t in history) == days
    assert {t.event for t in history} == {"files_found"}
    # The slower one either stored nothing, or saw what the other had stored: both then name the same runs.
    keys = {request.run_key.rpartition("#")[0] for each in found for request in each.run_requests}
    assert 1 <= len(keys) <= 2
    assert any(each.run_requests for each in found)


def checksums(lake: Lake) -> dict[str, str]:
    """Return the SHA-256 of each table's rows, by all columns."""
    result = {}
    for name in TABLES:
        stored = lake.delta(name).to_pyarrow_table()  # noqa: F841 - DuckDB reads it by name
        rows = duckdb.sql("select * from stored order by all").fetchall()
        result[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return result


def test_a_rebuild_gives_the_same_bytes_whatever_order_and_parallelism(
    pipeline_rig: PipelineRig, tmp_path: Path
) -> None:
    # Copies of offsets, several versions of a key with equal times, and bad rows: all that an order could decide.
    for city in ("Berlin", "Paris", "Rome"):
        pipeline_rig.events_file(DAY, 30, city=city)
    first = pipeline_rig.lake.list_date(pipeline_rig.events, DAY)[0]
    table = pq.read_table(pipeline_rig.lake.path(first.name))
    folder = Path(pipeline_rig.lake.path(first.name)).parent
    pq.write_table(table, folder / "part-copy.parquet")
    again = table.set_column(table.schema.get_field_index("_offset"), "_offset", [[n + 5000 for n in range(30)]])
    pq.write_table(again.cast(table.schema), folder / "part-versions.parquet")
    assert pipeline_rig.run(DAY).success
    original = checksums(pipeline_rig.lake)

    names = [file.name for file in pipeline_rig.lake.list_date(pipeline_rig.events, DAY)]
    for seed, partitions in ((1, "1"), (2, "7")):
        other = Lake(settings().model_copy(update={"lake_uri": str(tmp_path / f"rebuild-{seed}")}))
        shuffled = random.Random(seed).sample(names, len(names))
        renamed = [f"{Path(name).parent}/part-{n}.parquet" for n, name in enumerate(shuffled)]
        for name, new in zip(shuffled, renamed, strict=True):
            Path(other.path(new)).parent.mkdir(parents=True, exist_ok=True)
            data = pq.read_table(pipeline_rig.lake.path(name))
            order = random.Random(seed).sample(range(data.num_rows), data.num_rows)
            pq.write_table(data.take(order), other.path(new), row_group_size=7)
        spark = connect(settings().spark_remote)
        try:
            spark.conf.set("spark.sql.shuffle.partitions", partitions)
            processing_of(pipeline_rig, other, spark, renamed)
        finally:
            spark.stop()
        assert checksums(other) == original


def processing_of(pipeline_rig: PipelineRig, lake: Lake, spark: Any, files: list[str]) -> None:
    from spark_jobs import silver_to_gold

    bronze_to_silver.run(spark, lake, pipeline_rig.events, DAY, files)
    silver_to_gold.run(spark, lake, pipeline_rig.events, DAY)
