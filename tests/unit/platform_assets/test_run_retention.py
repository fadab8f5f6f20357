"""Old runs go, and the calendar of the UI stays as it was."""

from datetime import UTC, datetime, timedelta

import dagster as dg

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
