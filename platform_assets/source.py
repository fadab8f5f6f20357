"""Reading totals of one date from the source database, for the reconciliation of Silver.

Only the connection and the bounds of the date live here; the query is the domain's, what it must agree with is in
`checks`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from platform_core.errors import TransientError

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 30_000


class SourceUnavailableError(TransientError):
    """The source database did not answer the domain's query."""


def read_source(dsn: str, query: str, day: date) -> tuple[Any, ...]:
    """Return the one row of a query over the source database.

    Args:
        dsn: The database's URL, with its password.
        query: SQL with `%(start)s` and `%(end)s`, the bounds of the date.
        day: The UTC date.

    Raises:
        SourceUnavailableError: no connection, or the query failed; the message has no password.
    """
    import psycopg2

    start = datetime.combine(day, time(), UTC)
    options = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c default_transaction_read_only=on -c timezone=UTC"
    try:
        connection = psycopg2.connect(dsn, connect_timeout=CONNECT_SECONDS, options=options)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query, {"start": start, "end": start + timedelta(days=1)})
                row = cursor.fetchone()
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise SourceUnavailableError(
            f"The source database did not answer for {day}: {type(error).__name__}. Check `POSTGRES_DSN` and the query"
            " in domains.yaml (`quality.source`); the date is compared again when it is processed again.",
            day=day,
        ) from None
    return tuple(row or ())
