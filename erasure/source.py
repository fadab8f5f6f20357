"""A subject's rows in the source database: live ones, which only the source's owner deletes, and tombstones.

What is alive in the source would be captured again with its next change; a tombstone has done its work as soon as the
lake has read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from erasure.subject import Holder
from platform_core.errors import TransientError
from platform_core.settings import Settings
from producers.postgres.database import connect


@dataclass(frozen=True)
class SourceRows:
    """What the tables of a domain's source hold of the subject."""

    table: str
    live: int
    tombstone_table: str | None
    tombstones: int


def count(settings: Settings, holder: Holder) -> SourceRows | None:
    """Count the subject's rows in a domain's source; None when the domain has no table there.

    Raises:
        TransientError: the database did not answer.
    """
    table, tombstones = holder.domain.source_table, holder.domain.tombstone_table
    if table is None:
        return None
    with _cursor(settings, f"counting rows of `{table}`") as cursor:
        live = _count(cursor, table, holder)
        return SourceRows(table, live, tombstones, _count(cursor, tombstones, holder) if tombstones else 0)


def forget_tombstones(settings: Settings, found: SourceRows, holder: Holder) -> None:
    """Delete the subject's tombstones.

    Raises:
        TransientError: the database did not answer.
    """
    if found.tombstone_table is None:
        return
    with _cursor(settings, f"deleting from `{found.tombstone_table}`") as cursor:
        cursor.execute(
            sql.SQL("delete from {} where {} = %s").format(
                _named(found.tombstone_table), sql.Identifier(holder.column)
            ),
            (holder.value,),
        )


def _count(cursor: Any, table: str, holder: Holder) -> int:
    query = sql.SQL("select count(*) from {} where {} = %s").format(_named(table), sql.Identifier(holder.column))
    cursor.execute(query, (holder.value,))
    return int(cursor.fetchone()[0])


def _named(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


@contextmanager
def _cursor(settings: Settings, doing: str) -> Iterator[Any]:
    with closing(connect(settings, application="pdp erase")) as connection:
        try:
            with connection.cursor() as cursor:
                yield cursor
        except psycopg2.Error as error:
            raise TransientError(f"The source database failed while {doing}: {type(error).__name__}.") from None
