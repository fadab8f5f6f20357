"""The audit of every day: what changed since the last one, and once a week everything.

Which dates are due is decided here, and the outcome is kept; what is compared belongs to `audit.run`. A whole audit of
a long history takes hours, and a date that no run has touched since it was clean has not changed in the lake.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from audit import last_audit
from audit.last_audit import LastAudit
from audit.report import AuditReport, Stage
from audit.run import Progress, audit
from audit.stages import source_to_silver
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from platform_core.settings import Settings

WHOLE_EVERY = timedelta(days=7)
"""A file that is damaged on the disk makes no date change: this is how long that stays unseen."""

OVERLAP = timedelta(hours=1)
"""How much further back changes are looked for: rows bear the times of the hosts of their runs."""


def audit_what_changed(
    settings: Settings,
    catalog: Catalog,
    lake: Lake,
    partitions: PartitionMetaReader,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit the dates that changed since the last audit, every committed offset, and keep the outcome.

    Everything is audited after a week, and a domain of which the last audit was not clean: an old difference stays
    until it is gone.

    Args:
        partitions: The partition states, for when a date changed.
        progress: Told what is looked at.

    Raises:
        TransientError: the lake did not answer.
    """
    clock = clock or SystemClock()
    before, began = last_audit.load(lake), clock.now()
    if before is None or before.whole_at is None or began - before.whole_at >= WHOLE_EVERY:
        report = audit(settings, catalog, lake, progress=progress)
        last_audit.save(lake, report, clock.now(), began_at=began)
        return report
    rows = partitions.rows()
    results = [
        result
        for domain in catalog
        for result in _changed(settings, catalog, lake, domain, rows, before, progress).results
    ]
    report = AuditReport(tuple(results))
    last_audit.save(lake, report, clock.now(), began_at=began, before=before)
    return report


def _changed(
    settings: Settings,
    catalog: Catalog,
    lake: Lake,
    domain: Domain,
    rows: Iterable[Partition],
    before: LastAudit,
    progress: Progress | None,
) -> AuditReport:
    if not before.clean(domain.name):
        return audit(settings, catalog, lake, domains=[domain.name], progress=progress)
    since = (before.began_at or before.at) - OVERLAP
    days = [
        row.partition_date
        for row in rows
        if row.domain == domain.name and (row.updated_at is None or row.updated_at >= since)
    ]
    stages = set(Stage) if days else _without_dates(domain)
    dates = DateRange(min(days)) if days else None
    return audit(settings, catalog, lake, domains=[domain.name], dates=dates, stages=stages, progress=progress)


def _without_dates(domain: Domain) -> set[Stage]:
    """Return the stages that look at a domain as a whole."""
    of_source = source_to_silver.polled(domain) is not None and not source_to_silver.is_dated(domain)
    return {Stage.BRONZE, Stage.SOURCE} if of_source else {Stage.BRONZE}
