"""Reading a Postgres table by `updated_at` without missing a transaction that commits late.

A row's time is taken before its transaction commits, so `updated_at > watermark` skips what commits after the poll.
The fence is the poll's own transaction number: a later transaction takes a later time, an earlier one has finished
as soon as the snapshot's xmin has passed the fence. docs/architecture.md says what that promises and how it is proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
MAX_ID = 2**63 - 1
PAGE_ROWS = 5_000
# About 200 bytes each; beyond it the oldest are forgotten and at worst sent again.
MAX_REMEMBERED_ROWS = 20_000
# A transaction that is open for a day holds back 2,880 polls; each is a line of the watermark file.
MAX_WAITING_POLLS = 1_000


class PollClock(Protocol):
    """The time that a poll is taken at."""

    def read(self, cursor: Cursor) -> tuple[datetime, int]:
        """Return (time, fence): the fence is a transaction number that was assigned after the time was taken."""
        ...

    @property
    def ceiling(self) -> datetime | None:
        """Rows later than this do not exist yet; None for a real clock."""
        ...


class DatabaseClock:
    """The server's clock."""

    ceiling = None

    def read(self, cursor: Cursor) -> tuple[datetime, int]:
        """Return the server's time and the transaction number that it assigned next.

        `statement_timestamp()` and not `clock_timestamp()`: the time must lie before the number, and by a microsecond,
        for a later transaction may read the same one. The snapshot's xmax is no fence: it is one more than the latest
        number that finished, not than the latest assigned.
        """
        cursor.execute("SELECT statement_timestamp() - interval '1 microsecond', pg_current_xact_id()::text::bigint")
        at, fence = cursor.fetchone()  # type: ignore[misc]
        return at, int(fence)


@dataclass
class VirtualClock:
    """A clock that a replay moves: the past is read as it was polled then.

    Attributes:
        now: The virtual time.
    """

    now: datetime

    @property
    def ceiling(self) -> datetime | None:
        """The virtual time: what is later has not happened."""
        return self.now

    def read(self, cursor: Cursor) -> tuple[datetime, int]:
        """Return the virtual time with a real fence."""
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return self.now, int(cursor.fetchone()[0])  # type: ignore[index]


@dataclass(frozen=True)
class PolledRow:
    """One version of one row.

    Attributes:
        key: The primary key.
        updated_at: The version.
        document: What the query made of it, JSON text.
    """

    key: int
    updated_at: datetime
    document: str


@dataclass(frozen=True)
class Position:
    """How far a table was read.

    Attributes:
        low: Every version before this time was sent.
        low_key: Versions of exactly `low` were sent up to this key; all of them unless a poll stopped in the middle.
        polls: (time, fence) of polls whose fence is not passed yet, oldest first.
        sent: Versions later than `low` that were sent, by primary key.
    """

    low: datetime = BEGINNING
    polls: tuple[tuple[datetime, int], ...] = ()
    sent: dict[int, datetime] = field(default_factory=dict)
    low_key: int = MAX_ID

    def covers(self, key: int, updated_at: datetime) -> bool:
        """Tell whether a version, or a later one of the same row, was sent."""
        if (updated_at, key) <= (self.low, self.low_key):
            return True
        return key in self.sent and updated_at <= self.sent[key]

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON values."""
        return {
            "low": self.low.isoformat(),
            "low_key": self.low_key,
            "polls": [[at.isoformat(), fence] for at, fence in self.polls],
            "sent": [[key, at.isoformat()] for key, at in self.sent.items()],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any] | None) -> Position:
        """Return the position that `to_json` gave, or the beginning."""
        if document is None:
            return cls()
        return cls(
            low=datetime.fromisoformat(document["low"]),
            polls=tuple((datetime.fromisoformat(at), int(fence)) for at, fence in document["polls"]),
            sent={int(key): datetime.fromisoformat(at) for key, at in document["sent"]},
            low_key=int(document.get("low_key", MAX_ID)),
        )


class FencedReader:
    """Polls one table; call `poll`, send the rows, and `confirm` when they are delivered.

    Rows of the window that no fence has closed yet are read again by the next poll and recognised by (key,
    updated_at). Needs the primary server: a standby assigns no transaction numbers. The connection must be in
    autocommit, and the table must stamp `updated_at` after the transaction has its number, as the shop's triggers do.

    Args:
        connection: To the primary, autocommit.
        query: Selects (key, updated_at, document); takes `after_at`, `after_key`, `ceiling` and `page_rows`, and is
            ordered by (updated_at, key).
        position: Where to go on.
        page_rows: Rows of one page.

    Attributes:
        connection: What it was given.
        position: What is delivered.
        polled_at: When the last poll was taken, by its clock; None before the first one.
        held_since: The oldest poll whose fence an open transaction has not let pass; None when there is none.
        reread: Rows that polls read again and did not send.
    """

    def __init__(
        self,
        connection: Connection,
        query: str,
        position: Position,
        *,
        clock: PollClock | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self.connection = connection
        self._query = query
        self._clock = clock or DatabaseClock()
        self._page_rows = page_rows
        self.position = position
        self._read: Position | None = None
        self._complete = False
        self.polled_at: datetime | None = None
        self.held_since: datetime | None = None
        self.reread = 0

    @property
    def watermark_age_seconds(self) -> float:
        """How far the watermark was behind the clock at the last poll, in seconds; 0 before the first one."""
        return max(0.0, (self.polled_at - self.position.low).total_seconds()) if self.polled_at else 0.0

    @property
    def held_seconds(self) -> float:
        """How long the watermark was held back at the last poll, in seconds; 0 when no fence waits."""
        if self.polled_at is None or self.held_since is None:
            return 0.0
        return max(0.0, (self.polled_at - self.held_since).total_seconds())

    def poll(self) -> Iterator[list[PolledRow]]:
        """Yield pages of versions that were not sent yet.

        When a page is delivered `checkpoint` may be called, and after the last one `confirm`.
        """
        before = self.position
        self._read, self._complete = before, False
        with self.connection.cursor() as cursor:
            now, fence = self._clock.read(cursor)
            self.polled_at = now
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            xmin = int(cursor.fetchone()[0])  # type: ignore[index]
            # Not only earlier polls count: when no transaction is open, this poll's own fence is passed already, and
            # all that lies before it is in the snapshots of the pages below.
            polls = (*before.polls, (now, fence))
            passed = max((poll for poll in polls if poll[1] <= xmin), default=None)
            low = before.low if passed is None else max(before.low, passed[0])
            waiting = _thinned(tuple(poll for poll in polls if poll[1] > xmin))
            self.held_since = waiting[0][0] if waiting else None
            # What a restart needs to know again is that everything up to `low` is closed.
            known = waiting if passed is None else (passed, *waiting)
            sent = {key: at for key, at in before.sent.items() if at > low}
            after_at, after_key = before.low, before.low_key
            while True:
                cursor.execute(
                    self._query,
                    {
                        "after_at": after_at,
                        "after_key": after_key,
                        "ceiling": self._clock.ceiling,
                        "page_rows": self._page_rows,
                    },
                )
                page = cursor.fetchall()
                fresh = [PolledRow(*row) for row in page if not _is_sent(before, row[0], row[1])]
                self.reread += len(page) - len(fresh)
                for row in fresh:
                    if row.updated_at > low:
                        sent.pop(row.key, None)
                        sent[row.key] = row.updated_at
                        if len(sent) > MAX_REMEMBERED_ROWS:
                            del sent[next(iter(sent))]
                if page:
                    after_key, after_at = page[-1][0], page[-1][1]
                    if after_at <= low:
                        later = {key: at for key, at in before.sent.items() if at > after_at}
                        self._read = Position(after_at, known, later, after_key)
                    else:
                        self._read = Position(low, waiting, dict(sent))
                if fresh:
                    yield fresh
                if len(page) < self._page_rows:
                    break
        self._read, self._complete = Position(low, waiting, sent), True

    def checkpoint(self) -> Position:
        """Take the pages that were yielded so far as delivered and return the position to save.

        A process that ends here goes on behind the last page, or, within the window that a transaction holds open,
        at its beginning and without what is remembered. Never beyond the fence: rows that may still appear are read.

        Raises:
            RuntimeError: no poll was begun.
        """
        if self._read is None:
            raise RuntimeError("checkpoint() needs a poll() that has begun")
        self.position = self._read
        return self.position

    def confirm(self) -> Position:
        """Take the last poll as delivered and return the position to save.

        Raises:
            RuntimeError: the last poll was not read to its end.
        """
        if self._read is None or not self._complete:
            raise RuntimeError("confirm() needs a poll() that was read to its end")
        self.position, self._read, self._complete = self._read, None, False
        return self.position


def _is_sent(position: Position, key: int, updated_at: datetime) -> bool:
    """Tell whether this version or a later one was sent: a deleted key that came back is in the window twice."""
    known = position.sent.get(key)
    return known is not None and updated_at <= known


def _thinned(polls: tuple[tuple[datetime, int], ...]) -> tuple[tuple[datetime, int], ...]:
    """Forget every second poll when there are many: a fence that is not known only closes the window later."""
    return polls if len(polls) <= MAX_WAITING_POLLS else (*polls[:-1:2], polls[-1])
