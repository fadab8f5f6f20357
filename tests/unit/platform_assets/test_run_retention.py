"""Old runs go, and the calendar of the UI stays as it was."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

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
