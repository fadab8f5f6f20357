"""Freshness: which date of a domain must be delivered by now, and whether it is.

Pure functions over partition_meta rows; which alert is raised belongs to `alerting`, the deadline to
domains.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from platform_core.domain.catalog import Domain
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State


@dataclass(frozen=True)
class Freshness:
    """How a domain stands against its SLA at one moment.

    Attributes:
        due: The newest date whose deadline has passed; None while nothing is due.
        deadline: When `due` had to be delivered, UTC.
        delivered: Whether `due` has been delivered.
        late_by: How long `due` has been missing; zero when it is delivered or nothing is due.
        newest_done: The newest date that is DONE, whichever it is.
    """

    domain: str
    due: date | None
    deadline: datetime | None
    delivered: bool
    late_by: timedelta
    newest_done: date | None

    @property
    def fresh(self) -> bool:
        """Whether nothing that is due is missing."""
        return self.due is None or self.delivered


def deadline_of(domain: Domain, day: date) -> datetime:
    """Return when a date must be delivered: at the domain's `sla_deadline` of the next day, UTC."""
    return datetime.combine(day + timedelta(days=1), domain.sla_deadline, UTC)


def freshness(domain: Domain, rows: Iterable[Partition], now: datetime) -> Freshness:
    """Judge a domain by the one date that must be there.

    Only that date counts, so a backfill of an old date never makes a domain fresh. A date is delivered once it has
    been DONE (`processed_at` is set, and nothing clears it): a correction, retry or reset that is under way, or that
    failed, leaves the delivered rows in the warehouse, and is the business of other checks.

    Nothing is due before `start_date`, before the first date that has a row, or with a deadline that had passed when
    the domain's first row was made: a fresh installation is not late for days on which it did not exist.

    Args:
        rows: Its rows; others are left out.
        now: The moment to judge, with a time zone.
    """
    ours = {row.partition_date: row for row in rows if row.domain == domain.name}
    newest_done = max((day for day, row in ours.items() if row.status is State.DONE), default=None)
    today = now.astimezone(UTC).date()
    due = today - timedelta(days=1)
    if now < deadline_of(domain, due):
        due -= timedelta(days=1)
    deadline = deadline_of(domain, due)
    began = min((row.created_at for row in ours.values() if row.created_at is not None), default=None)
    if not ours or due < max(domain.start_date, min(ours)) or (began is not None and deadline < began):
        return Freshness(domain.name, None, None, False, timedelta(0), newest_done)
    row = ours.get(due)
    delivered = row is not None and (row.status is State.DONE or row.processed_at is not None)
    return Freshness(domain.name, due, deadline, delivered, timedelta(0) if delivered else now - deadline, newest_done)
