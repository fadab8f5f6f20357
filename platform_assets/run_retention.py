"""Which of Dagster's old runs are forgotten: those that no asset's, partition's or check's newest event came from.

Dagster deletes a run with its events, and what the UI shows of a partition is its newest event; so age alone would
empty the calendar. What the platform remembers of a date (transitions, corrections) is not Dagster's and stays.
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

AT_ONCE = 500


def forget_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete finished runs that were last touched before a time, with their events and logs.

    Args:
        before: Aware, UTC.

    Returns:
        How many runs were deleted.
    """
    old = instance.get_run_ids(dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before))
    if not old:
        return 0
    forgotten = sorted(set(old) - _shown_runs(instance))
    for run_id in forgotten:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    return len(forgotten)


def _shown_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs whose events the UI shows as the newest of an asset or of one of its partitions."""
    shown: set[str] = set()
    events, kind = instance.event_log_storage, dg.DagsterEventType.ASSET_MATERIALIZATION
    for key in instance.get_asset_keys():
        failed = events.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        shown |= {run_id for run_id, _ in failed.values()}
        newest = events.get_latest_storage_id_by_partition(key, kind)
        ids = list(newest.values())
        for start in range(0, len(ids), AT_ONCE):
            wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + AT_ONCE])
            records = instance.fetch_materializations(wanted, limit=AT_ONCE).records
            shown |= {record.run_id for record in records}
        latest = instance.get_latest_materialization_event(key)
        if latest is not None:
            shown.add(latest.run_id)
    return shown
