"""Reading the source database for the audit: the totals of a date, rows, and the versions of some keys.

Only the connection and the bounds of a date live here; what the answers must agree with is in
`audit.stages.source_to_silver`. Values come as text: a row that Python has no value for hides no other row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from platform_core.errors import TransientError

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 30_000
BATCH_ROWS = 20_000


class SourceUnavailableError(TransientError):
    """The source database did not answer; the message has no password."""


def source_time(value: Any) -> datetime | None:
    """Return a time of the source, None of what is no text of a time that Python can have."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def read_totals(dsn: str, query: str, day: date) -> tuple[Any, ...]:
    """Return the one row of a query over the source database.

    Args:
        dsn: The database's URL, with its password.
        query: SQL with `%(start)s` and `%(end)s`, the bounds of the date.

    Raises:
        SourceUnavailableError: no connection, or the query failed.
    """
    with _session(dsn, f"the query `quality.source` and {day}") as cursor:
        cursor.execute(query, _bounds(day))
        row = cursor.fetchone()
    return tuple(row or ())


def read_rows(dsn: str, query: str, day: date | None) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows of a query over the source database, in batches.

    Args:
        dsn: The database's URL, with its password.
        query: SQL, with `%(start)s` and `%(end)s` if it is for a date.

    Raises:
        SourceUnavailableError: no connection, or the query failed.
    """
    # A cursor with a name is the server's: the client holds one batch.
    with _session(dsn, str(day or "all rows"), name="rows") as cursor:
        cursor.execute(query, _bounds(day) if day else {})
        while batch := cursor.fetchmany(BATCH_ROWS):
            yield batch


def read_row(dsn: str, table: str, key: str, value: object) -> dict[str, Any] | None:
    """Return one row of a table by its key, as JSON values; None when there is no such row.

    Args:
        dsn: The database's URL, with its password.

    Raises:
        SourceUnavailableError: no connection, no such table, or the query failed.
    """
    from psycopg2 import sql

    query = sql.SQL("select row_to_json(r)::text from {} r where {} = %s")
    with _session(dsn, f"table `{table}`") as cursor:
        cursor.execute(query.format(sql.Identifier(*table.split(".")), sql.Identifier(key)), (value,))
        row = cursor.fetchone()
    return dict(json.loads(row[0])) if row else None


def read_versions(
    dsn: str, table: str, key: str, version: str, keys: Sequence[object], dated: tuple[str, date] | None = None
) -> dict[Any, str]:
    """Return the latest versions, as text, of those keys that a table has.

    Args:
        dsn: The database's URL, with its password.
        key: The table's key column.
        version: The column that orders versions.
        dated: Only rows of a date, by this column.

    Raises:
        SourceUnavailableError: no connection, no such table, or the query failed.
    """
    from psycopg2 import sql

    of_date = " and {at} >= %(start)s and {at} < %(end)s" if dated else ""
    text = "select {key}, max({version})::text from {table} where {key} = any(%(keys)s)" + of_date + " group by {key}"
    query = sql.SQL(text)
    column, bounds = (dated[0], _bounds(dated[1])) if dated else (version, {})
    names = {"key": key, "version": version, "at": column}
    identifiers = {name: sql.Identifier(each) for name, each in names.items()}
    with _session(dsn, f"table `{table}`") as cursor:
        composed = query.format(table=sql.Identifier(*table.split(".")), **identifiers)
        cursor.execute(composed, {"keys": list(keys), **bounds})
        return dict(cursor.fetchall())


def _bounds(day: date) -> dict[str, datetime]:
    start = datetime.combine(day, time(), UTC)
    return {"start": start, "end": start + timedelta(days=1)}


@contextmanager
def _session(dsn: str, what: str, name: str | None = None) -> Iterator[Any]:
    import psycopg2
    from psycopg2.errors import ProgrammingError

    options = f"-c statement_timeout={STATEMENT_MILLISECONDS} -c default_transaction_read_only=on -c timezone=UTC"
    try:
        connection = psycopg2.connect(dsn, connect_timeout=CONNECT_SECONDS, options=options)
        try:
            with connection, connection.cursor(name) as cursor:
                yield cursor
        finally:
            connection.close()
    except ProgrammingError as error:
        # A message of this kind names tables and columns, and no value.
        raise SourceUnavailableError(
            f"The source database refuses to be asked for {what}: {str(error).splitlines()[0]}. Mend the block `source`"
            " or `quality.source` in domains.yaml, or the database."
        ) from None
    except psycopg2.Error as error:
        raise SourceUnavailableError(
            f"The source database did not answer for {what}: {type(error).__name__}. Check `POSTGRES_DSN` and that the"
            " database is up; a date is compared again when it is processed again."
        ) from None
