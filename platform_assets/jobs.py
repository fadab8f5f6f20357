"""The jobs: of each domain, Bronze to the warehouse for chosen dates, of maintenance and the audit; what a run is.

What a run does belongs to `platform_assets.assets.pipeline`; what launches it, to `sensors` and `schedules`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from platform_core.domain.catalog import Domain

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

MAINTENANCE_AT_MOST = timedelta(hours=4)
"""Maintenance has no lease: when its host dies with it, the domain's pool is free again after this."""

AUDIT_AT_MOST = timedelta(hours=36)
"""An audit has none either; a whole one of a long history takes hours."""

REASON_TAG = "pdp/reason"
"""Why discovery launched a run; a person's run has none, and reprocesses DONE dates too."""

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def job_name(domain: Domain) -> str:
    """Name of the domain's job."""
    return f"data_pipeline_{domain.name}"


def pool(domain: Domain) -> str:
    """Name of the domain's pool: one run at a time is the only writer of the domain's Delta tables."""
    return f"domain_{domain.name}"


def maintenance_job(name: str, asset: dg.AssetsDefinition) -> UnresolvedAssetJobDefinition:
    """Return the job that maintains a domain's tables, or the platform's own."""
    return dg.define_asset_job(
        f"maintenance_{name}",
        selection=dg.AssetSelection.assets(asset),
        description="Merges small files and ends the files of replaced versions; no row changes.",
        tags={"dagster/max_runtime": str(int(MAINTENANCE_AT_MOST.total_seconds()))},
    )


def audit_job(asset: dg.AssetsDefinition) -> UnresolvedAssetJobDefinition:
    """Return the job that audits what changed; dates that wait for a run slot go first."""
    return dg.define_asset_job(
        "audit",
        selection=dg.AssetSelection.assets(asset),
        description="Compares every layer with the next for the dates that changed, and once a week for all.",
        tags={"dagster/max_runtime": str(int(AUDIT_AT_MOST.total_seconds())), "dagster/priority": "-1"},
    )


def domain_job(
    domain: Domain, pipeline: dg.AssetsDefinition, others: list[dg.AssetChecksDefinition]
) -> UnresolvedAssetJobDefinition:
    """Return the domain's job.

    Args:
        pipeline: The step that processes its dates.
        others: Checks of the same assets that look at the whole domain, and so are no part of a date's run.
    """
    return dg.define_asset_job(
        job_name(domain),
        selection=dg.AssetSelection.assets(*pipeline.keys) - dg.AssetSelection.checks(*others),
        description=f"{domain.description}: Bronze to warehouse, for the dates that discovery or a person chose.",
    )


def is_running(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Return whether a run exists and is queued, starting or running."""
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


def days_of(run: dg.DagsterRun) -> tuple[date, ...]:
    """Return the dates that a run is to process, sorted; none for a run without partitions, or of other ones."""
    tags = run.tags
    try:
        first = date.fromisoformat(tags[PARTITION] if PARTITION in tags else tags[RANGE_START])
        last = date.fromisoformat(tags[PARTITION] if PARTITION in tags else tags[RANGE_END])
    except (ValueError, KeyError):
        return ()
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))
