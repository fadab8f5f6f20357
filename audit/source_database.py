"""Reading one date of the source database, its totals or its rows, for the reconciliation of Silver.

Only the connection and the bounds of the date live here; the query is the domain's, what it must agree with is in
`checks` and in the audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from platform_core.errors import TransientError

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 30_000
BATCH_ROWS = 20_000


class SourceUnavailableError(TransientError):
    """The source database did not answer the domain's query."""


def read_source(dsn: str, query: str, day: date) -> tuple[Any, ...]:
    """Return the one row of a query over the source database.

    Args:
        dsn: The database's URL, with its password.
        query: SQL with `%(start)s` and `%(end)s`, the bounds of the date.

    Raises:
        SourceUnavailableError: no connection, or the query failed; the message has no password.
    """
    with _cursor(dsn, query, day) as cursor:
        row = cursor.fetchone()
    return tuple(row or ())


def read_source_rows(dsn: str, query: str, day: date) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows of a query over the source database, in batches.

    Args:
        dsn: The database's URL, with its password.
        query: SQL with `%(start)s` and `%(end)s`, the bounds of the date.

    Raises:
        SourceUnavailableError: no connection, or the query failed; the message has no password.
    """
    with _cursor(dsn, query, day, name="rows") as cursor:
        while batch := cursor.fetchmany(BATCH_ROWS):
            yield batch


def read_source_row(dsn: str, table: str, key: str, value: object) -> dict[str, Any] | None:
    """Return one row of a table of the source database by its key.

    Args:
        dsn: The database's URL, with its password.
        key: Its key column.
        value: The key.

    Returns:
        The row by column, empty when there is no such row; None when there is no such table.

    Raises:
        SourceUnavailableError: no connection, or the query failed; the message has no password.
    """
    from psycopg2 import sql

    with _session(dsn, f"`{table}`") as cursor:
        cursor.execute("select to_regclass(%s)", (table,))
        if cursor.fetchone()[0] is None:
            return None
        query = sql.SQL("select * from {} where {} = %s").format(sql.Identifier(*table.split(".")), sql.Identifier(key))
        cursor.execute(query, (value,))
        row = cursor.fetchone()
        return dict(zip((column.name for column in cursor.description), row, strict=True)) if row else {}


def read_tombstones(dsn: str, table: str, key: str, version: str, values: Sequence[object]) -> list[tuple[Any, Any]]:
    """Return key and version of rows that a table of tombstones has.

    Args:
        dsn: The database's URL, with its password.
        table: The table of tombstones.
        key: Its key column.
        version: The column that orders versions.
        values: The keys to look for.

    Raises:
        SourceUnavailableError: no connection, or the query failed; the message has no password.
    """
    from psycopg2 import sql

    with _session(dsn, f"`{table}`") as cursor:
        cursor.execute("select to_regclass(%s)", (table,))
        if cursor.fetchone()[0] is None:
            return []
        columns = sql.SQL(", ").join(map(sql.Identifier, (key, version)))
        query = sql.SQL("select {} from {} where {} = any(%s)").format(
            columns, sql.Identifier(*table.split(".")), sql.Identifier(key)
        )
        cursor.execute(query, (list(values),))
        return list(cursor.fetchall())


@contextmanager
def _cursor(dsn: str, query: str, day: date, name: str | None = None) -> Iterator[Any]:
    start = datetime.combine(day, time(), UTC)
    with _session(dsn, str(day), name) as cursor:
        cursor.execute(query, {"start": start, "end": start + timedelta(days=1)})
        yield cursor


@contextmanager
def _session(dsn: str, what: str, name: str | None = None) -> Iterator[Any]:
    import psycopg2

    options = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c default_transaction_read_only=on -c timezone=UTC"
    try:
        connection = psycopg2.connect(dsn, connect_timeout=CONNECT_SECONDS, options=options)
        try:
            # A cursor with a name is the server's: the client holds one batch.
            with connection, connection.cursor(name) as cursor:
                yield cursor
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise SourceUnavailableError(
            f"The source database did not answer for {what}: {type(error).__name__}. Check `POSTGRES_DSN` and the query"
            " in domains.yaml (`quality.source`); the date is compared again when it is processed again.",
            what=what,
        ) from None
