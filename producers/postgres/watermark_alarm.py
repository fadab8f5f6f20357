"""The alarm of a watermark that an open transaction holds back, and whose it is; or of a server's clock that stepped.

When it is raised and what it says belongs here; why a watermark waits is explained in `producers.postgres.fence`, and
what to do about it in docs/operations.md. It costs nothing while nothing is held: the server is asked only after the
alarm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from platform_core.errors import TransientError
from platform_core.lake.alerts import Alert, AlertKind
from producers.postgres.fence import FencedReader

log = logging.getLogger(__name__)

KIND = AlertKind.WATERMARK_HELD_BACK
STEP_SECONDS = 1.0
REPEAT_SECONDS = 60.0

# `age` and not a comparison: transaction numbers wrap around. A prepared transaction has no session any more.
OLDEST = """
SELECT pid, coalesce(usename, 'unknown'), coalesce(state, 'unknown'), to_char(since, 'YYYY-MM-DD"T"HH24:MI:SSOF') FROM (
  SELECT pid::text, usename::text, state, xact_start AS since, age(backend_xid) AS old
  FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
  UNION ALL
  SELECT 'prepared:' || quote_literal(gid), owner::text, 'prepared', prepared, age(transaction) FROM pg_prepared_xacts
) open ORDER BY old DESC LIMIT 1
"""


class OpenTransaction(NamedTuple):
    """The oldest transaction that has a number, as far as this login may see it.

    Attributes:
        pid: Its server process, or `prepared:` and the name of a prepared transaction.
        user: Whose it is.
        state: What its session does.
        since: When it began, ISO text.
    """

    pid: str = "unknown"
    user: str = "unknown"
    state: str = "unknown"
    since: str | None = "unknown"

    @property
    def ending(self) -> str:
        """What ends it, for psql; whoever reads it decides whether the transaction is still needed."""
        if self.pid.isdigit():
            return f"SELECT pg_terminate_backend({self.pid});"
        if self.pid.startswith("prepared:"):
            return f"ROLLBACK PREPARED {self.pid.removeprefix('prepared:')};"
        return "SELECT * FROM pg_stat_activity WHERE backend_xid IS NOT NULL;  -- as a member of pg_read_all_stats"

    @classmethod
    def oldest(cls, connection: Connection) -> OpenTransaction:
        """Ask the server; without the privilege to see other logins' sessions every field is unknown."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(OLDEST)
                return cls(*(cursor.fetchone() or ()))
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedTable):
            return cls()


class WatermarkAlarm:
    """Warns of a watermark that is held back for too long, each minute, and of a step; alerts once an occurrence.

    Args:
        threshold_seconds: `CDC_WATERMARK_ALARM_SECONDS`.
        send: Takes the alert; raises `TransientError` when it was not delivered.
        seconds: A clock that never steps back, for the pace of warnings.

    Attributes:
        is_on: Whether the watermark is held back for too long.
    """

    def __init__(
        self,
        source: str,
        threshold_seconds: float,
        send: Callable[[Alert], None],
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._threshold_seconds = threshold_seconds
        self._send = send
        self._seconds = seconds
        self._warned_at: float | None = None
        self._sent = False
        self.is_on = False

    def check(self, reader: FencedReader) -> None:
        """Judge the last poll of the reader, which has come to its end."""
        if reader.stepped_back_seconds >= STEP_SECONDS:
            self._clock_stepped_back(reader)
        held = reader.held_seconds
        if held <= self._threshold_seconds:
            if self.is_on:
                log.warning("watermark_released source=%s age_seconds=%.0f", self._source, reader.watermark_age_seconds)
            self.is_on, self._warned_at, self._sent = False, None, False
            return
        self.is_on = True
        now = self._seconds()
        if self._warned_at is not None and now - self._warned_at < REPEAT_SECONDS:
            return
        self._warned_at = now
        blocker = OpenTransaction.oldest(reader.connection)
        log.warning(
            "watermark_held_back source=%s seconds=%.0f pid=%s user=%s state=%s since=%s",
            *(self._source, held, blocker.pid, blocker.user, blocker.state.replace(" ", "_"), blocker.since),
        )
        self._sent = self._sent or self._held_back(reader, blocker)

    def _clock_stepped_back(self, reader: FencedReader) -> None:
        log.warning("clock_stepped_back source=%s seconds=%.0f", self._source, reader.stepped_back_seconds)
        self._sends(
            AlertKind.SOURCE_CLOCK_STEPPED_BACK,
            reader,
            reader.polled_at,
            f"The clock of the database of `{self._source}` is {reader.stepped_back_seconds:,.0f} s behind what it was"
            " at the last poll. No row is missed; rows that are written now bear earlier times than older ones.",
            f"The source database, which says that it is {reader.polled_at}",
            "SELECT clock_timestamp();",
        )

    def _held_back(self, reader: FencedReader, blocker: OpenTransaction) -> bool:
        return self._sends(
            KIND,
            reader,
            reader.held_since,
            f"A transaction has been open for {reader.held_seconds:,.0f} s. Other rows of `{self._source}` are sent as"
            " ever; what this transaction wrote comes when it commits, and until then every poll reads the window"
            " again.",
            f"Postgres process {blocker.pid}, user {blocker.user}, {blocker.state}, since {blocker.since}",
            blocker.ending,
        )

    def _sends(
        self, kind: AlertKind, reader: FencedReader, since: datetime | None, what: str, where: str, command: str
    ) -> bool:
        assert reader.polled_at is not None and since is not None
        key = f"{kind}/{self._source}/{since.isoformat()}"
        try:
            self._send(Alert(key, kind, self._source, None, what, where, command, reader.polled_at))
            return True
        except TransientError as error:  # the rows must not wait for Kafka
            log.warning("alert_not_sent source=%s error=%s", self._source, error)
            return False
