"""The assets that keep tables small: one a domain, one for the platform's own ledgers and Dagster's runs.

What is done with a table is `maintenance`; which runs are forgotten, `platform_assets.run_retention`.
"""

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from maintenance.delta_table import TableMaintenance
from maintenance.run import maintain_domain, maintain_platform
from platform_assets.assets.keys import PLATFORM_OWNER, maintenance_key
from platform_assets.jobs import pool
from platform_assets.resources.metadata_store import MetadataStore
from platform_assets.run_retention import forget_old_runs
from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.settings import Settings

GROUP = "maintenance"
"""A group of their own: in a domain's they would be materialised with its dates."""


def domain_maintenance(domain: Domain, settings: Settings) -> dg.AssetsDefinition:
    """Return the asset that maintains a domain's tables, when no run of the domain is at work."""

    @dg.asset(
        key=maintenance_key(domain.name),
        group_name=GROUP,
        kinds={"deltalake"},
        owners=[domain.owner],
        # The pool of the domain's runs: one at a time writes the domain's tables.
        pool=pool(domain),
        description="Merges small files of Silver, quarantine and Gold, and ends the files of replaced versions.",
    )
    def maintenance(context: dg.AssetExecutionContext, metadata_store: MetadataStore) -> dg.MaterializeResult[None]:
        turns = maintain_domain(metadata_store.lake(), domain, metadata_store.partitions(), settings)
        return dg.MaterializeResult(metadata=_metadata(_logged(context, turns)))

    return maintenance


def platform_maintenance(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset that maintains what belongs to no domain."""

    @dg.asset(
        key=maintenance_key("platform"),
        group_name=GROUP,
        kinds={"deltalake"},
        owners=[PLATFORM_OWNER],
        description="Merges the ledgers of corrections, alerts and erasures, and forgets runs that nothing refers to.",
    )
    def maintenance(context: dg.AssetExecutionContext, metadata_store: MetadataStore) -> dg.MaterializeResult[None]:
        tables = _metadata(_logged(context, maintain_platform(metadata_store.lake(), settings)))
        before = SystemClock().now() - timedelta(days=settings.runs_keep_days)
        forgotten = forget_old_runs(context.instance, before)
        context.log.info(f"Dagster: {counted(forgotten, 'run')} forgotten")
        return dg.MaterializeResult(metadata={**tables, "runs_forgotten": forgotten})

    return maintenance


def _logged(context: dg.AssetExecutionContext, turns: Iterable[TableMaintenance]) -> list[TableMaintenance]:
    done = []
    for turn in turns:
        context.log.info(
            f"{turn.table}: {turn.files_before} → {counted(turn.files, 'file')}, {turn.removed} of old versions removed"
        )
        done.append(turn)
    return done


def _metadata(turns: list[TableMaintenance]) -> dict[str, dg.MetadataValue]:
    records = [
        dg.TableRecord(
            {
                "table": turn.table,
                "files before": turn.files_before,
                "files": turn.files,
                "bytes": turn.bytes,
                "removed": turn.removed,
                "versions held": ", ".join(map(str, turn.held)),
            }
        )
        for turn in turns
    ]
    numbers = {
        "files": sum(turn.files for turn in turns),
        "bytes": sum(turn.bytes for turn in turns),
        "removed_files": sum(turn.removed for turn in turns),
    }
    plotted: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(value) for name, value in numbers.items()}
    return plotted | ({"tables": dg.MetadataValue.table(records)} if records else {})
