"""Which dates of Bronze a tick lists, so that its cost follows what changed and not the history.

A tick lists the dates that the sink announced, those that wait for a run, those never seen, and a slice of all
others: the slice moves on with each tick and finds what no announcement named. What a listing means for a
partition's state is decided by `discovery`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from platform_core.lake.lake import BronzeFile
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

CERTAIN_BUDGETS = 10
"""Dates that are known to need a look may cost this many times the slice; the rest of them waits for the next tick."""


@dataclass(frozen=True)
class Position:
    """Where the scan of a domain stands between two ticks.

    Attributes:
        ledger: Kafka partition of `processed-events` to the next offset to read; None before the first tick.
        watched: Dates that were announced and whose files could not be compared yet.
        audited: The date that the moving slice listed last; it goes from the newest date to the oldest.
    """

    ledger: Mapping[int, int] | None = None
    watched: frozenset[date] = frozenset()
    audited: date | None = None

    def to_json(self) -> str:
        """Return the position as a sensor's cursor."""
        return json.dumps(
            {
                "ledger": None if self.ledger is None else {str(p): offset for p, offset in self.ledger.items()},
                "watched": sorted(day.isoformat() for day in self.watched),
                "audited": self.audited.isoformat() if self.audited else None,
            }
        )

    @classmethod
    def from_json(cls, text: str | None) -> Position:
        """Return the position of a cursor; a cursor that is missing or unreadable starts anew."""
        try:
            value = json.loads(text or "{}")
            ledger = value.get("ledger")
            return cls(
                None if ledger is None else {int(p): int(offset) for p, offset in ledger.items()},
                frozenset(date.fromisoformat(day) for day in value.get("watched", ())),
                date.fromisoformat(value["audited"]) if value.get("audited") else None,
            )
        except (ValueError, AttributeError, TypeError):
            return cls()


@dataclass
class Scan:
    """What a tick listed.

    Attributes:
        bronze: The listed dates, each with its files sorted by name.
        unlisted: Announced or watched dates for which the budget did not reach.
        audited: Where the moving slice stands now.
        files: Files listed.
    """

    bronze: dict[date, list[BronzeFile]] = field(default_factory=dict)
    unlisted: set[date] = field(default_factory=set)
    audited: date | None = None
    files: int = 0


def scan(
    list_date: Callable[[date], list[BronzeFile]],
    dates: Sequence[date],
    rows: Mapping[date, Partition],
    waiting: Iterable[date],
    announced: Collection[date],
    audited: date | None,
    budget: int,
) -> Scan:
    """List the dates that a tick must look at.

    Args:
        list_date: Lists one date's files.
        dates: The dates that have a folder in Bronze.
        rows: The domain's rows of partition_meta by date.
        waiting: Dates that a run may be launched for, the most urgent first.
        announced: Dates that the ledger named, or that an earlier tick left.
        audited: Where the moving slice stands.
        budget: Files that the slice may list; a date is never listed in part.
    """
    result = Scan(audited=audited)
    present = set(dates)

    def look(day: date) -> None:
        if day in present and day not in result.bronze:
            result.bronze[day] = list_date(day)
            result.files += len(result.bronze[day])

    certain = [*sorted(announced), *waiting, *sorted((day for day in present if day not in rows), reverse=True)]
    for day in certain:
        if result.files >= budget * CERTAIN_BUDGETS:
            break
        look(day)
    result.unlisted = {day for day in announced if day in present and day not in result.bronze}

    before = result.files
    for day in _onwards(sorted(present, reverse=True), audited):
        if result.files - before >= budget:
            break
        look(day)
        result.audited = day
    return result


def _onwards(newest_first: Sequence[date], audited: date | None) -> list[date]:
    """Return every date once, beginning after `audited` and going round."""
    start = next((n for n, day in enumerate(newest_first) if audited is not None and day < audited), 0)
    return [*newest_first[start:], *newest_first[:start]]


def still_watched(
    scanned: Scan, announced: Collection[date], rows: Mapping[date, Partition], differing: Collection[date]
) -> frozenset[date]:
    """Return the announced dates that the next tick must look at again.

    A run in flight pinned its files before the announcement, and a DONE date that differs waits for the settle
    interval. In every other state the date waits for a run anyway, and the run lists its files itself.

    Args:
        scanned: What this tick listed.
        announced: What the ledger named, or an earlier tick left.
        rows: The rows after this tick's transitions.
        differing: Dates that are DONE and whose files differ from the listing.
    """
    in_flight = {day for day in announced if day in rows and rows[day].status is State.IN_FLIGHT}
    return frozenset(scanned.unlisted | in_flight | set(differing))
