"""The audit of every day: what changed since the last one, and once a week everything.

Which dates are due is decided here, and the outcome is kept; what is compared belongs to `audit.run`. A whole audit of
a long history takes hours, and a date that no run has touched since it was clean has not changed in the lake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby

from audit import last_audit
from audit.last_audit import LastAudit
from audit.report import AuditReport, Stage, StageResult
from audit.run import Progress, audit, of_broken
from audit.stages import source_to_silver
from platform_core.clock import Clock, SystemClock
from platform_core.domain.catalog import Catalog, Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta import Partition, PartitionMetaReader
from platform_core.settings import Settings

WHOLE_EVERY = timedelta(days=7) - timedelta(hours=1)
"""A file that is damaged on the disk makes no date change: this is how long that stays unseen. A little less than a
week, because a run of a daily schedule begins some minutes earlier or later."""

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
    """Audit the dates that changed since the last audit, and keep the outcome.

    Everything is audited after a week, and a domain of which the last audit was not clean: an old difference stays
    until it is gone.

    Args:
        partitions: The partition states, for when a date changed.
        progress: Told what is looked at.

    Raises:
        TransientError: the lake did not answer.
    """
    clock = clock or SystemClock()
    began = clock.now()
    before = _kept(lake, catalog)
    if before is None or before.whole_at is None or not timedelta() <= began - before.whole_at < WHOLE_EVERY:
        report = audit(settings, catalog, lake, progress=progress)
        last_audit.save(lake, report, clock.now(), began_at=began)
        return report
    rows = partitions.rows()
    since = min(before.began_at or before.at, began) - OVERLAP
    results: list[StageResult] = []
    for domain in catalog:
        looked_at = partial(audit, settings, catalog, lake, domains=[domain.name], progress=progress)
        if not before.clean(domain.name):
            results += looked_at().results
            continue
        for dates, stages in _changed(domain, rows, since):
            results += looked_at(dates=dates, stages=stages).results
    report = AuditReport((*results, *of_broken(catalog, set(Stage))))
    # A person's audit that ended meanwhile has seen more than the one of before.
    last_audit.save(lake, report, clock.now(), began_at=began, before=_kept(lake, catalog) or before)
    return report


def _kept(lake: Lake, catalog: Catalog) -> LastAudit | None:
    """Return the last outcome, without the domains that are gone."""
    last = last_audit.load(lake)
    names = {*catalog.names, *catalog.broken}
    return last and last.model_copy(update={"stages": [each for each in last.stages if each.domain in names]})


def _changed(
    domain: Domain, rows: Iterable[Partition], since: datetime
) -> Iterator[tuple[DateRange | None, set[Stage]]]:
    """Yield the dates of a domain that were touched, and the stages that look at them.

    Kafka and Bronze are left to the whole audit: their comparison reads every file of the domain, which are millions
    after years, and the sensor `offset_coverage` makes it every minute from the files that are new.
    """
    of_source = source_to_silver.polled(domain) is not None and not source_to_silver.is_dated(domain)
    if of_source:
        yield None, {Stage.SOURCE}
    touched = sorted(
        row.partition_date
        for row in rows
        if row.domain == domain.name and (row.updated_at is None or row.updated_at >= since)
    )
    stages = set(Stage) - {Stage.BRONZE} - ({Stage.SOURCE} if of_source else set())
    for dates in _without_gaps(touched):
        yield dates, stages


def _without_gaps(days: Sequence[date]) -> Iterator[DateRange]:
    """Yield ascending dates as ranges that have no other date."""
    for _, numbered in groupby(enumerate(days), key=lambda each: each[1].toordinal() - each[0]):
        of_range = [day for _, day in numbered]
        yield DateRange(of_range[0], of_range[-1])
