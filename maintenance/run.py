"""A turn of maintenance: the tables of a domain, or the platform's own, that were written since the last one.

What is done with one table is `delta_table`, what is remembered of it `marks`; Dagster's runs are ended by
`platform_assets`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType

from deltalake.exceptions import TableNotFoundError

from maintenance.cold_bronze.dates import compact_cold_dates
from maintenance.delta_table import TableMaintenance, maintain_opened
from maintenance.held_versions import held_versions
from maintenance.marks import Marks, TableMark, commit_of
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.partitions.partition_meta import PartitionMetaStore
from platform_core.settings import Settings


def maintain_domain(
    lake: Lake,
    domain: Domain,
    partitions: PartitionMetaStore,
    settings: Settings,
    *,
    whole: bool = False,
    clock: Clock | None = None,
) -> Iterator[TableMaintenance]:
    """Maintain Silver, key versions, the quarantine and the Gold tables of a domain; what does not exist is left out.

    Cold dates of Bronze come last, and count as one table.

    Nobody else may write them meanwhile.

    Args:
        lake: Where the tables lie.
        domain: The domain.
        partitions: The partition states: which versions corrections wait for, which dates are cold.
        settings: How long replaced files stay.
        whole: Look at every file now, and not once a week.
        clock: The time.

    Raises:
        TransientError: the store did not answer.
    """
    held = held_versions(domain, partitions)
    names = {lake.silver(domain): (), lake.key_versions(domain): (), lake.quarantine(domain): ()} | {
        lake.gold(domain, table): held.get(table, ()) for table in domain.gold.tables
    }
    order = {lake.silver(domain): domain.silver.z_order_by}
    clock = clock or SystemClock()
    turn = _Turn(lake, domain.name, settings, clock.now(), whole=whole)
    yield from turn.maintained(names, order)
    if (cold := compact_cold_dates(lake, domain, partitions, clock)) is not None:
        yield TableMaintenance(lake.bronze(domain), cold.files_before, cold.files, cold.bytes, cold.removed, ())


def maintain_platform(
    lake: Lake, settings: Settings, *, whole: bool = False, clock: Clock | None = None
) -> Iterator[TableMaintenance]:
    """Maintain the platform's own ledgers; partition_meta does it by itself, every some commits.

    Others may write them meanwhile.
    """
    turn = _Turn(lake, "platform", settings, (clock or SystemClock()).now(), whole=whole)
    yield from turn.maintained(dict.fromkeys((lake.corrections, lake.alerts, lake.erasures), ()))


class _Turn:
    def __init__(self, lake: Lake, owner: str, settings: Settings, now: datetime, *, whole: bool) -> None:
        self._lake = lake
        self._marks = Marks(lake, owner)
        self._keep = timedelta(days=settings.maintenance_keep_days)
        self._now = now
        self._whole = whole

    def maintained(
        self, tables: Mapping[str, Collection[int]], z_order_by: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> Iterator[TableMaintenance]:
        """Maintain tables, each with its held versions; of one without a new version the last turn's figures."""
        for name, held in tables.items():
            with suppress(TableNotFoundError), answering(self._lake.uri(name), "maintained"):
                yield self._maintain(name, held, z_order_by.get(name, ()))

    def _maintain(self, name: str, held: Collection[int], z_order_by: Sequence[str]) -> TableMaintenance:
        mark = self._marks.get(name)
        whole = self._whole or mark is None or mark.is_whole_due(self._now)
        if mark is not None and not whole and mark.is_unchanged(self._lake, name, z_order_by):
            return TableMaintenance(name, mark.files, mark.files, mark.bytes, 0, tuple(sorted(held)))
        table = self._lake.delta(name)
        table_id = str(table.metadata().id)
        whole = whole or mark is None or mark.table_id != table_id
        done = maintain_opened(table, name, self._keep, held, z_order_by, whole=whole)
        whole_at = self._now if whole or mark is None else mark.whole_at
        self._marks.set(
            name,
            TableMark(
                table_id=table_id,
                version=table.version(),
                commit=commit_of(self._lake, name, table.version()),
                whole_at=whole_at,
                z_order_by=list(z_order_by),
                files=done.files,
                bytes=done.bytes,
            ),
        )
        return done
