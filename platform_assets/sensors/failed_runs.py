"""Failed Dagster runs as the domain and the dates that they were about.

Only reading a run's tags and selection belongs here; what alert follows belongs to `alerting.collect`.
"""

from datetime import UTC, datetime

import dagster as dg

from alerting.collect import FailedRun
from platform_assets.assets.keys import bronze_key, gold_key, maintenance_key, silver_key, warehouse_key
from platform_assets.jobs import days_of, job_name
from platform_core.domain.catalog import Catalog, Domain


def failed_runs(instance: dg.DagsterInstance, catalog: Catalog, since: datetime) -> list[FailedRun]:
    """Return the runs that failed at or after a time, oldest first; a cancelled run has not failed.

    Args:
        instance: Where runs are kept.
        since: The earliest end, UTC.
    """
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    records = instance.get_run_records(failed)
    runs = [
        FailedRun(
            record.dagster_run.run_id,
            record.dagster_run.job_name,
            _domain_of(record.dagster_run, catalog),
            days_of(record.dagster_run),
            datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp,
            _error_of(instance, record.dagster_run.run_id),
        )
        for record in records
    ]
    return sorted(runs, key=lambda run: run.ended_at)


def _error_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return the first line of what a run's step failed with; empty when its process ended without a word.

    It is what the platform raised: Dagster's own error is around it, and the client's, a refused connection for
    example, is its cause.
    """
    failures = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records
    event = failures[0].event_log_entry.dagster_event if failures else None
    error = event.step_failure_data.error if event else None
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error.message.splitlines()[0] if error and error.message else ""


def _domain_of(run: dg.DagsterRun, catalog: Catalog) -> str | None:
    keys = set(run.asset_selection or ()) | {check.asset_key for check in run.asset_check_selection or ()}
    domains = [d.name for d in catalog if run.job_name == job_name(d) or keys & _keys(d)]
    return domains[0] if len(domains) == 1 else None


def _keys(domain: Domain) -> set[dg.AssetKey]:
    gold = {gold_key(table) for table in domain.gold.tables}
    return {bronze_key(domain), silver_key(domain), warehouse_key(domain), maintenance_key(domain.name), *gold}
