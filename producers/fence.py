"""Reading a Postgres table by `updated_at` without missing a transaction that commits late.

A row's time is taken before its transaction commits, so `updated_at > watermark` skips what commits after the poll.
The fence is the poll's own transaction number: a later transaction takes a later time, an earlier one has finished
as soon as the snapshot's xmin has passed the fence. docs/adr has the comparison with the other ways.
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
# About 100 bytes each; beyond it the oldest are forgotten and at worst sent again.
MAX_REMEMBERED_ROWS = 20_000


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

        `statement_timestamp()` and not `clock_timestamp()`: the time must lie before the number. The snapshot's xmax
        is no fence: it is one more than the latest number that finished, not than the latest assigned.
        """
        cursor.execute("SELECT statement_timestamp(), pg_current_xact_id()::text::bigint")
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
class Row:
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
        low: Everything up to here was sent.
        polls: (time, fence) of polls whose fence is not passed yet, oldest first.
        sent: Versions later than `low` that were sent, by primary key.
    """

    low: datetime = BEGINNING
    polls: tuple[tuple[datetime, int], ...] = ()
    sent: dict[int, datetime] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON values."""
        return {
            "low": self.low.isoformat(),
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
        clock: What time it is.
        page_rows: Rows of one page.
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
        self._connection = connection
        self._query = query
        self._clock = clock or DatabaseClock()
        self._page_rows = page_rows
        self.position = position
        self._next: Position | None = None
        self.reread = 0

    def poll(self) -> Iterator[list[Row]]:
        """Yield pages of versions that were not sent yet; after the last page `confirm` may be called."""
        before = self.position
        self._next = None
        with self._connection.cursor() as cursor:
            now, fence = self._clock.read(cursor)
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            xmin = int(cursor.fetchone()[0])  # type: ignore[index]
            # Not only earlier polls count: when no transaction is open, this poll's own fence is passed already, and
            # all that lies before it is in the snapshots of the pages below.
            polls = (*before.polls, (now, fence))
            low = max([before.low, *(at for at, passed in polls if passed <= xmin)])
            waiting = tuple((at, number) for at, number in polls if number > xmin)
            sent = {key: at for key, at in before.sent.items() if at > low}
            after_at, after_key = before.low, MAX_ID
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
                fresh = [Row(*row) for row in page if before.sent.get(row[0]) != row[1]]
                self.reread += len(page) - len(fresh)
                for row in fresh:
                    if row.updated_at > low:
                        sent.pop(row.key, None)
                        sent[row.key] = row.updated_at
                if fresh:
                    yield fresh
                if len(page) < self._page_rows:
                    break
                after_key, after_at = page[-1][0], page[-1][1]
        if len(sent) > MAX_REMEMBERED_ROWS:
            sent = dict(list(sent.items())[-MAX_REMEMBERED_ROWS:])
        self._next = Position(low, waiting, sent)

    def confirm(self) -> Position:
        """Take the last poll as delivered and return the position to save.

        Raises:
            RuntimeError: the last poll was not read to its end.
        """
        if self._next is None:
            raise RuntimeError("confirm() needs a poll() that was read to its end")
        self.position, self._next = self._next, None
        return self.position
