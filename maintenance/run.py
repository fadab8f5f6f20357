"""A turn of maintenance: every table of a domain, or the platform's own.

What is done with one table is `delta_table`; Dagster's runs are ended by `platform_assets`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType

from deltalake.exceptions import TableNotFoundError

from maintenance.delta_table import TableMaintenance, maintain
from maintenance.held_versions import held_versions
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.partitions.partition_meta import PartitionMetaReader
from platform_core.settings import Settings


def maintain_domain(
    lake: Lake, domain: Domain, partitions: PartitionMetaReader, settings: Settings
) -> Iterator[TableMaintenance]:
    """Maintain Silver, key versions, the quarantine and the Gold tables of a domain; what does not exist is left out.

    Nobody else may write them meanwhile.

    Raises:
        TransientError: the store did not answer.
    """
    held = held_versions(domain, partitions)
    names = {lake.silver(domain): (), lake.key_versions(domain): (), lake.quarantine(domain): ()} | {
        lake.gold(domain, table): held.get(table, ()) for table in domain.gold.tables
    }
    yield from _maintained(lake, names, settings, {lake.silver(domain): domain.silver.z_order_by})


def maintain_platform(lake: Lake, settings: Settings) -> Iterator[TableMaintenance]:
    """Maintain the platform's own ledgers; partition_meta does it by itself, every some commits.

    Others may write them meanwhile.
    """
    yield from _maintained(lake, dict.fromkeys((lake.corrections, lake.alerts, lake.erasures), ()), settings)


def _maintained(
    lake: Lake,
    tables: Mapping[str, Collection[int]],
    settings: Settings,
    z_order_by: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[TableMaintenance]:
    keep = timedelta(days=settings.maintenance_keep_days)
    for name, held in tables.items():
        with suppress(TableNotFoundError), answering(lake.uri(name), "maintained"):
            yield maintain(lake, name, keep, held, z_order_by.get(name, ()))
