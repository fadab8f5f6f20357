"""Old runs go, and the calendar of the UI stays as it was."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.runs.schema import RunsTable

from platform_assets import run_retention
from platform_assets.run_retention import forget_old_runs

DAYS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=DAYS)
def table(context: dg.AssetExecutionContext) -> None:
    if "fail" in context.run.tags:
        raise ValueError("it failed")


def run(instance: dg.DagsterInstance, partition: str, **tags: str) -> str:
    done = dg.materialize([table], instance=instance, partition_key=partition, tags=tags, raise_on_error=False)
    return done.run_id


def test_runs_that_nothing_shown_came_from_are_forgotten() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with dg.DagsterInstance.ephemeral() as instance:
        replaced, newest = run(instance, "a"), run(instance, "a")
        failed = run(instance, "b", fail="yes")
        assert forget_old_runs(instance, datetime.now(UTC) - timedelta(hours=1)) == 0
        assert forget_old_runs(instance, later) == 1
        assert {each.run_id for each in instance.get_runs()} == {newest, failed}
        assert instance.get_materialized_partitions(table.key) == {"a"}
        assert instance.get_run_by_id(replaced) is None
        assert forget_old_runs(instance, later) == 0


def test_an_old_run_that_is_shown_keeps_its_results_and_loses_its_log(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        replaced, newest = run(instance, "a"), run(instance, "a")
        logs = {path.stem: path for path in (tmp_path / "history" / "runs").glob("*.db")}
        before = logs[newest].stat().st_size
        assert len(instance.all_logs(newest)) > 5
        for forgotten in (1, 0):
            assert forget_old_runs(instance, later) == forgotten
            assert not logs[replaced].exists(), "Dagster only empties it"
            assert logs[newest].stat().st_size < before / 10
            assert instance.all_logs(newest) == []
            assert not list((tmp_path / "storage" / newest).glob("**/*.err")), "what it printed goes with its log"
            [shown] = instance.fetch_materializations(table.key, limit=5).records
            assert (shown.run_id, shown.partition_key) == (newest, "a")
            assert instance.get_materialized_partitions(table.key) == {"a"}


def test_a_run_in_a_storage_of_one_table_loses_its_log_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        newest = run(instance, "a")
        before = len(instance.all_logs(newest))
        printed: list[Sequence[str] | None] = []
        monkeypatch.setattr(instance.compute_log_manager, "delete_logs", lambda prefix: printed.append(prefix))
        for _ in range(2):
            assert forget_old_runs(instance, datetime.now(UTC) + timedelta(hours=1)) == 0
        assert printed == [[newest]], "what it printed goes once"
        kinds = {event.dagster_event_type for event in instance.all_logs(newest)}
        assert len(instance.all_logs(newest)) < before
        assert dg.DagsterEventType.ASSET_MATERIALIZATION in kinds and dg.DagsterEventType.STEP_SUCCESS not in kinds
        assert instance.get_materialized_partitions(table.key) == {"a"}


def test_a_night_looks_at_what_became_old_and_a_week_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        shown_once, replaced, newest = run(instance, "a"), run(instance, "b"), run(instance, "b")
        for run_id in (shown_once, replaced, newest):  # one became old long ago, the others between two nights
            days = 40 if run_id == shown_once else 10
            runs = instance.run_storage
            with runs.connect() as connection:  # type: ignore[attr-defined]
                at = (begun - timedelta(days=days)).replace(tzinfo=None)
                connection.execute(RunsTable.update().where(RunsTable.c.run_id == run_id).values(update_timestamp=at))
        assert forget_old_runs(instance, begun - timedelta(days=20), begun) == 0, "the first turn looks at everything"
        again = run(instance, "a")
        looked_at: list[set[str]] = []
        shown = run_retention._shown_runs

        def noted(of: dg.DagsterInstance, run_ids: Sequence[str]) -> set[str]:
            looked_at.append(shown(of, run_ids))
            return looked_at[-1]

        monkeypatch.setattr(run_retention, "_shown_runs", noted)
        assert forget_old_runs(instance, begun - timedelta(days=9), begun + timedelta(days=1)) == 1
        assert {each.run_id for each in instance.get_runs()} == {shown_once, newest, again}
        assert instance.get_run_by_id(replaced) is None and newest in looked_at[0]
        assert forget_old_runs(instance, begun - timedelta(days=8), begun + timedelta(days=2)) == 0
        assert len(looked_at) == 1, "nothing became old, and no history was read"
        assert forget_old_runs(instance, begun - timedelta(days=2), begun + timedelta(days=7)) == 1
        assert {each.run_id for each in instance.get_runs()} == {newest, again}


def test_the_last_run_of_an_asset_without_partitions_is_kept() -> None:
    @dg.asset
    def whole() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        replaced, newest = (dg.materialize([whole], instance=instance).run_id for _ in range(2))
        assert forget_old_runs(instance, datetime.now(UTC) + timedelta(hours=1)) == 1
        assert instance.get_run_by_id(replaced) is None
        assert {each.run_id for each in instance.get_runs()} == {newest}


def test_what_is_shown_is_found_by_an_index_however_many_dates_there_are(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        newest = run(instance, "a")
        statements: list[tuple[str, Any]] = []

        def noted(_: Any, __: Any, statement: str, parameters: Any, *more: Any) -> None:
            statements.append((statement, parameters))

        sa.event.listen(sa.Engine, "before_cursor_execute", noted)
        try:
            assert run_retention._shown_runs(instance, [newest]) == {newest}
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", noted)
        [(statement, parameters)] = [each for each in statements if "EXISTS" in each[0]]
        with run_retention._index(instance) as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        of_newer = [step for step in plan if "AS newer" in step or " newer " in step]
        assert of_newer and all("partition=?" in step and "id>?" in step for step in of_newer), plan


def test_a_failed_attempt_that_is_shown_is_kept_by_a_night_too() -> None:
    begun = datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        done = run(instance, "a")
        assert forget_old_runs(instance, begun - timedelta(days=1), begun) == 0
        failed = run(instance, "a", fail="yes")
        assert forget_old_runs(instance, datetime.now(UTC) + timedelta(hours=1), begun + timedelta(days=1)) == 0
        assert {each.run_id for each in instance.get_runs()} == {done, failed}
