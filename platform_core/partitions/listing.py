"""Which dates of Bronze a tick of discovery lists, so that its cost follows what changed and not the history.

A tick lists the dates that the sink announced, those that wait for a run, those never seen, and a slice of all
others: the slice moves on with each tick and finds what no announcement named. What a listing means for a
partition's state is decided by `plan`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from pydantic import TypeAdapter, ValidationError

from platform_core.lake.bronze_compaction import UnreadableNoteError
from platform_core.lake.lake import BronzeFile
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

CERTAIN_BUDGETS = 10
"""Dates that are known to need a look may cost this many times the slice; the rest of them waits for the next tick."""

FILES_A_REQUEST = 1_000
"""What a store's client lists in one request; a date of fewer files costs one as well. Counted in files alone, three
years of small dates were 1,095 requests a tick and domain, some thirty dollars a day of a quiet bucket."""

SIGHTED = frozenset({State.IN_FLIGHT, State.FAILED})
"""The states that end by time: when a lease expires, when a retry is due."""


@dataclass(frozen=True)
class DiscoveryCursor:
    """Where the discovery of a domain stands between two ticks.

    Attributes:
        ledger: Kafka partition of `processed-events` to the next offset to read; None before the first tick.
        relist: Dates that were announced and whose files could not be compared yet.
        swept: The date that the moving slice listed last; it goes from the newest date to the oldest.
        sightings: Dates in flight or FAILED, with what their rows had as `updated_at` by whose clock ever, and the
            second at which that was first seen.
        sighted_since: What those seconds are counted from.
        idle: Started runs that hold no date, with the second at which they were first seen so.
        lake_seen: Whether the lake was there, so that an empty folder is an outage from then on.
    """

    ledger: Mapping[int, int] | None = None
    relist: frozenset[date] = frozenset()
    swept: date | None = None
    sightings: Mapping[date, tuple[datetime, float]] = field(default_factory=dict)
    sighted_since: str = ""
    idle: Mapping[str, float] = field(default_factory=dict)
    lake_seen: bool = False

    def sighted(self, rows: Iterable[Partition], seconds: float, since: str) -> dict[date, tuple[datetime, float]]:
        """Return since when the rows that are in flight or FAILED have been as they are, as far as was seen here.

        A row that has not changed since the tick before keeps its first sight. Seconds of another host say nothing
        here: after a move every row counts as first seen now.

        Args:
            rows: The domain's rows; DONE dates may be left out.
            seconds: The present one of the clock that looks.
            since: What these seconds are counted from.
        """
        known = self.sightings if since == self.sighted_since else {}
        seen = {}
        for row in rows:
            if row.status in SIGHTED and row.updated_at is not None:
                before = known.get(row.partition_date)
                unchanged = before is not None and before[0] == row.updated_at
                seen[row.partition_date] = before if before and unchanged else (row.updated_at, seconds)
        return seen

    def to_json(self) -> str:
        """Return the cursor as Dagster stores it."""
        return _STORED.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | None) -> DiscoveryCursor:
        """Read a stored cursor; one that is missing or unreadable begins with the first tick."""
        try:
            return _STORED.validate_json(text or "{}")
        except ValidationError:
            return cls()


_STORED = TypeAdapter(DiscoveryCursor)


@dataclass
class Listing:
    """What a tick listed.

    Attributes:
        bronze: The listed dates, each with its files sorted by name.
        unclear: Dates of which nobody knows the files, and why; they stay as they are.
        unlisted: Announced dates that are not in `bronze`: unclear ones, and those for which the budget did not reach.
        swept: Where the moving slice stands now.
        files: Files listed.
    """

    bronze: dict[date, list[BronzeFile]] = field(default_factory=dict)
    unclear: dict[date, UnreadableNoteError] = field(default_factory=dict)
    unlisted: set[date] = field(default_factory=set)
    swept: date | None = None
    files: int = 0


def list_bronze(
    list_date: Callable[[date], list[BronzeFile]],
    dates: Sequence[date],
    known: Collection[date],
    waiting: Iterable[date],
    announced: Collection[date],
    swept: date | None,
    budget: int,
) -> Listing:
    """List the dates that a tick must look at.

    Args:
        list_date: Lists one date's files.
        dates: The dates that have a folder in Bronze, sorted.
        known: The dates that have a row in partition_meta.
        waiting: Dates that a run may be launched for, the most urgent first.
        announced: Dates that the ledger named, or that an earlier tick left.
        swept: Where the moving slice stands.
        budget: Files that the slice may list, a date as at least `FILES_A_REQUEST`; a date is never listed in part.
    """
    result = Listing(swept=swept)
    present = set(dates)

    def add(day: date) -> None:
        if day in present and day not in result.bronze and day not in result.unclear:
            try:
                result.bronze[day] = list_date(day)
            except UnreadableNoteError as error:
                result.unclear[day] = error
                return
            result.files += len(result.bronze[day])

    certain = [*sorted(announced), *waiting, *sorted(present.difference(known), reverse=True)]
    for day in certain:
        if result.files >= budget * CERTAIN_BUDGETS:
            break
        add(day)
    result.unlisted = {day for day in announced if day in present and day not in result.bronze}

    spent = 0
    for day in _onwards(dates[::-1], swept):
        if spent >= budget:
            break
        if day not in result.bronze:
            add(day)
            spent += max(len(result.bronze.get(day, ())), FILES_A_REQUEST)
        result.swept = day
    return result


def _onwards(newest_first: Sequence[date], swept: date | None) -> list[date]:
    """Return every date once, beginning after `swept` and going round."""
    start = 0 if swept is None else bisect_right(newest_first, -swept.toordinal(), key=lambda day: -day.toordinal())
    return [*newest_first[start:], *newest_first[:start]]


def to_relist(
    listing: Listing, announced: Collection[date], rows: Mapping[date, Partition], differing: Collection[date]
) -> frozenset[date]:
    """Return the announced dates that the next tick must list again.

    A run in flight pinned its files before the announcement, and a DONE date that differs waits for the settle
    interval. In every other state the date waits for a run anyway, and the run lists its files itself.

    Args:
        listing: What this tick listed.
        announced: What the ledger named, or an earlier tick left.
        rows: The rows after this tick's transitions.
        differing: Dates that are DONE and whose files differ from the listing.
    """
    in_flight = {day for day in announced if day in rows and rows[day].status is State.IN_FLIGHT}
    return frozenset(listing.unlisted | in_flight | set(differing))
