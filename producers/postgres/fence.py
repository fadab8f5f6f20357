"""Reading a Postgres table by `updated_at` without missing a transaction that commits late, or a clock that steps.

A row's time is taken before its transaction commits, so `updated_at > watermark` skips what commits after the poll.
The fence is the poll's own transaction number: a later transaction takes a later time, an earlier one has finished
as soon as the snapshot's xmin has passed the fence. A clock that steps back, or a row restored with its old time,
breaks
the first half of that. So each poll also reads rows of earlier times whose transaction the last one cannot have seen:
numbers never step. docs/architecture.md says what that promises and how it is proven.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from producers.postgres.stamp import BEGINNING, END, Stamp

MIN_ID, MAX_ID = -(2**63), 2**63 - 1
PAGE_ROWS = 5_000
# About 200 bytes each; beyond it the oldest are forgotten and at worst sent again.
MAX_REMEMBERED_ROWS = 20_000
# A transaction that is open for a day holds back 2,880 polls; each is a line of the watermark file.
MAX_WAITING_POLLS = 1_000

# Rows so much earlier than the watermark are looked at by each poll, all others as often as this. A longer margin costs
# each poll more, a shorter one the server: it takes a second for a million rows.
MARGIN_SECONDS = 600.0

# A standby that takes over has other transactions under the same numbers; what it had not replayed by then, and how
# far its clock is behind, is within this.
FAILOVER_SECONDS = 86_400.0

# Rows bear 32 bits of a transaction's number; half of it may lie between two that are compared.
COMPARABLE = 2**30

SNAPSHOT = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
  (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
"""


class DatabaseClock:
    """The server's clock.

    Attributes:
        ceiling: Rows later than this do not exist yet; None for a real clock.
    """

    ceiling: datetime | None = None

    def read(self, cursor: Cursor) -> tuple[datetime, int]:
        """Return the server's time and the transaction number that it assigned next.

        `statement_timestamp()` and not `clock_timestamp()`: the time must lie before the number, and by a microsecond,
        for a later transaction may read the same one. The snapshot's xmax is no fence: it is one more than the latest
        number that finished, not than the latest assigned.
        """
        cursor.execute("SELECT statement_timestamp() - interval '1 microsecond', pg_current_xact_id()::text::bigint")
        at, fence = cursor.fetchone()  # type: ignore[misc]
        return at, int(fence)


class Version(NamedTuple):
    """One version of one row, in the order in which they are read."""

    at: Stamp
    key: int


class PolledRow(NamedTuple):
    """One version of one row, read.

    Attributes:
        key: The primary key.
        stamped: The version as Postgres writes it; of most rows of a backlog nobody needs to know more.
        document: What the query made of it, JSON text.
    """

    key: int
    stamped: str
    document: str

    @property
    def updated_at(self) -> Stamp:
        """The version."""
        return Stamp.parse(self.stamped)

    @property
    def version(self) -> Version:
        """What distinguishes it from others."""
        return Version(self.updated_at, self.key)


class Numbers(NamedTuple):
    """What was sent whatever its time: all that transactions before a number wrote.

    Attributes:
        later: Of versions after `Position.low`.
        earlier: Of versions up to `Position.low`.
        swept: Of versions that were `MARGIN_SECONDS` earlier, or more.
    """

    later: int
    earlier: int
    swept: int


@dataclass(frozen=True)
class Position:
    """How far a table was read.

    Attributes:
        low: Every version before this time was sent.
        low_key: Versions of exactly `low` were sent up to this key; all of them unless a poll stopped in the middle.
        polls: (time, fence) of polls whose fence is not passed yet, oldest first.
        sent: Versions that were sent and may be read again.
        numbers: None before the first poll that was read to its end: then only times count.
        history: Of which server, and of which of its timelines, the numbers are.
    """

    low: Stamp = BEGINNING
    polls: tuple[tuple[Stamp, int], ...] = ()
    sent: tuple[Version, ...] = ()
    low_key: int = MAX_ID
    numbers: Numbers | None = None
    history: str = ""

    def covers(self, key: int, updated_at: datetime) -> bool:
        """Tell whether a version, or a later one of the same row, was sent."""
        at = Stamp.of(updated_at)
        return (at, key) <= (self.low, self.low_key) or any(key == sent.key and at <= sent.at for sent in self.sent)

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON values."""
        return {
            "low": self.low.text,
            "low_key": self.low_key,
            "polls": [[at.text, fence] for at, fence in self.polls],
            "sent": [[key, at.text] for at, key in self.sent],
            "numbers": self.numbers,
            "history": self.history,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any] | None) -> Position:
        """Return the position that `to_json` gave, by itself or in a watermark file, or the beginning."""
        if document is None:
            return cls()
        document = document.get("position", document)
        return cls(
            low=Stamp.parse(document["low"]),
            polls=tuple((Stamp.parse(at), int(fence)) for at, fence in document["polls"]),
            sent=tuple(Version(Stamp.parse(at), int(key)) for key, at in document["sent"]),
            low_key=int(document.get("low_key", MAX_ID)),
            numbers=Numbers(*document["numbers"]) if document.get("numbers") else None,
            history=document.get("history", ""),
        )


class FencedReader:
    """Polls one table; call `poll`, send a page, and `checkpoint` when it is delivered.

    Rows of the window that no fence has closed yet are read again by the next poll and recognised by (key,
    updated_at). Needs the primary server: a standby assigns no transaction numbers. The connection must be in
    autocommit, and the table must stamp `updated_at` after the transaction has its number and never backwards for a
    row, as the shop's triggers do.

    Args:
        connection: To the primary, autocommit.
        query: Selects (key, updated_at as text, document) of a `_Stretch`, ordered by (updated_at, key).
        position: Where to go on.
        page_rows: Rows of one page.
        seconds: A clock that never steps back, for how often all rows are looked at.

    Attributes:
        connection: What it was given.
        position: What is delivered.
        polled_at: When the last poll was taken, by its clock; None before the first one.
        held_since: The oldest poll whose fence an open transaction has not let pass; None when there is none.
        stepped_back_seconds: How far the server's clock was behind the watermark at the last poll; as a rule 0.
        reread: Rows that polls read again and did not send.
    """

    def __init__(
        self,
        connection: Connection,
        query: str,
        position: Position,
        *,
        clock: DatabaseClock | None = None,
        page_rows: int = PAGE_ROWS,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._query = query
        self._clock = clock or DatabaseClock()
        self._page_rows = page_rows
        self._seconds = seconds
        self._sweep_due_at = seconds()
        self.position = position
        self._read = position
        self.polled_at: datetime | None = None
        self.held_since: datetime | None = None
        self.stepped_back_seconds = 0.0
        self.reread = 0

    @property
    def watermark_age_seconds(self) -> float:
        """How far the watermark was behind the clock at the last poll, in seconds; 0 before the first one."""
        return max(0.0, (self.polled_at - self.position.low.time).total_seconds()) if self.polled_at else 0.0

    @property
    def held_seconds(self) -> float:
        """How long the watermark was held back at the last poll, in seconds; 0 when no fence waits."""
        if self.polled_at is None or self.held_since is None:
            return 0.0
        return max(0.0, (self.polled_at - self.held_since).total_seconds())

    def poll(self) -> Iterator[list[PolledRow]]:
        """Yield pages of versions that were not sent yet; call `checkpoint` when they are delivered."""
        with self.connection.cursor() as cursor:
            self.polled_at, fence = self._clock.read(cursor)
            now = Stamp.of(self.polled_at)
            cursor.execute(SNAPSHOT)
            xmin, history = cursor.fetchone()  # type: ignore[misc]
            before = self._read = _comparable(self.position, xmin, history)
            # Not only earlier polls count: when no transaction is open, this poll's own fence is passed already, and
            # all that lies before it is in the snapshots of the pages below.
            polls = (*before.polls, (now, fence))
            passed = next((poll for poll in reversed(polls) if poll[1] <= xmin), None)
            low = before.low if passed is None else passed[0]
            if before.numbers is None:  # else the watermark follows the clock back too
                low = max(before.low, low)
            waiting = _thinned(tuple(poll for poll in polls if poll[1] > xmin))
            self.held_since = waiting[0][0].time if waiting else None
            # What a restart needs to know again is that everything up to `low` is closed.
            known = waiting if passed is None else (passed, *waiting)
            is_behind = before.numbers is not None and now < before.low
            self.stepped_back_seconds = (before.low.time - self.polled_at).total_seconds() if is_behind else 0.0
            sweeps = is_behind or self._seconds() >= self._sweep_due_at
            ends = _after(xmin, before.numbers, sweeps=sweeps)
            known_versions, sent = set(before.sent), dict[Version, None]()
            for stretch in _stretches(before, self._clock.ceiling, sweeps=sweeps):
                for page in self._pages(cursor, stretch):
                    first, last, start = page[0].version, page[-1].version, (before.low, before.low_key)
                    is_earlier = last <= start
                    # Within a backlog nothing is read again, so nothing needs to be remembered.
                    versions = () if first > start and last.at <= low else [row.version for row in page]
                    for version in versions:
                        if version.at > low or version <= start:
                            sent[version] = None
                            if len(sent) > MAX_REMEMBERED_ROWS:
                                del sent[next(iter(sent))]
                    if is_earlier:
                        self._read = replace(before, sent=(*before.sent, *sent))
                    elif last.at <= low:
                        later = tuple(version for version in before.sent if version.at > last.at)
                        self._read = Position(last.at, known, later, last.key, ends, history)
                    else:
                        later = tuple(version for version in before.sent if version > last)
                        self._read = Position(low, waiting, (*sent, *later), MAX_ID, ends, history)
                    fresh = [row for row in page if row.version not in known_versions] if known_versions else page
                    self.reread += len(page) - len(fresh)
                    if fresh:
                        yield fresh
        if sweeps:
            self._sweep_due_at = self._seconds() + MARGIN_SECONDS
        # A virtual time leaves out rows that are in the snapshot, whose number thus says nothing of what was sent.
        numbers = None if self._clock.ceiling else Numbers(xmin, xmin, xmin if ends is None else ends.swept)
        self._read = Position(low, waiting, tuple(sent), MAX_ID, numbers, history)

    def checkpoint(self) -> Position:
        """Take the pages that were yielded so far as delivered and return the position to save.

        After the last page that is the whole poll. A process that ends before goes on behind the last page, or, within
        the window that a transaction holds open, at its beginning and without what is remembered. Never beyond the
        fence: rows that may still appear are read.
        """
        self.position = self._read
        return self.position

    def _pages(self, cursor: Cursor, stretch: _Stretch) -> Iterator[list[PolledRow]]:
        after = stretch.after
        while True:
            parameters = {
                "after_at": after.at.text,
                "after_key": after.key,
                "until_at": stretch.until.at.text,
                "until_key": stretch.until.key,
                "transaction": None if stretch.transaction is None else str(stretch.transaction % 2**32),
                "page_rows": self._page_rows,
            }
            cursor.execute(self._query, parameters)
            page = [PolledRow(*row) for row in cursor.fetchall()]
            if page:
                yield page
                after = page[-1].version
            if len(page) < self._page_rows:
                return


class _Stretch(NamedTuple):
    """Versions after one and up to another, of which those count that transactions from a number on wrote."""

    after: Version
    until: Version
    transaction: int | None


def _stretches(before: Position, ceiling: datetime | None, *, sweeps: bool) -> Iterator[_Stretch]:
    """Yield what a poll reads, in its order."""
    low = Version(before.low, before.low_key if before.low > BEGINNING else MIN_ID)
    end = Version(Stamp.of(ceiling) if ceiling else END, MAX_ID)
    numbers = before.numbers
    if numbers is None:
        yield _Stretch(low, end, None)
        return
    margin = Version(before.low.earlier(MARGIN_SECONDS), MAX_ID)
    if sweeps:
        yield _Stretch(Version(BEGINNING, MIN_ID), margin, numbers.swept)
    if numbers.later == numbers.earlier:
        yield _Stretch(margin, end, numbers.later)
    else:
        yield _Stretch(margin, low, numbers.earlier)
        yield _Stretch(low, end, numbers.later)


def _after(xmin: int, before: Numbers | None, *, sweeps: bool) -> Numbers | None:
    """Return the numbers of a poll that has come beyond the watermark that it began with."""
    return None if before is None else Numbers(before.later, xmin, xmin if sweeps else before.swept)


def _comparable(position: Position, xmin: int, history: str) -> Position:
    """Return a position without transaction numbers that say nothing here."""
    numbers = position.numbers
    if numbers is None:
        return position
    if position.history != history or xmin < numbers.later:
        return Position(low=position.low.earlier(FAILOVER_SECONDS))
    return position if xmin - numbers.swept < COMPARABLE else replace(position, numbers=None)


def _thinned(polls: tuple[tuple[Stamp, int], ...]) -> tuple[tuple[Stamp, int], ...]:
    """Forget every second poll when there are many: a fence that is not known only closes the window later."""
    return polls if len(polls) <= MAX_WAITING_POLLS else (*polls[:-1:2], polls[-1])
