"""One date of Bronze in DuckDB: the keys and the places in Kafka of all its rows, read once.

A correction asks it which rows have a key of new files, the stage Bronze → Silver compares it with the tables. What is
in it comes from the files' columns alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from audit.duckdb_tables import ORIGIN, load_bronze, names, one, same
from platform_core.domain.bronze_schema import RECORD_IDENTITY
from platform_core.domain.catalog import Domain
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import BronzeFile, Lake

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class BronzeOfDate:
    """The rows of a date's files as the table `bronze` of a database: key, `order_by`, origin in Kafka and time there.

    Attributes:
        later: Files that are added by `of_later_keys`.
        gone: Files that are not listed any more.
        newer: Files that are listed besides, which nobody has processed.
        unreadable: Files that were left out, and why.
    """

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    domain: Domain
    day: date
    later: Sequence[BronzeFile]
    gone: Sequence[str]
    newer: Sequence[str]
    unreadable: Mapping[str, str]

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(one(self.connection, "select count(*) from bronze")[0])

    def of_later_keys(self) -> pa.Table:
        """Add the rows of the later files, and return the origins of those that were there and have a key of theirs.

        A NULL in a key equals NULL, as for an engine that groups by it.
        """
        keys, order = self.domain.silver.primary_key, self.domain.silver.order_by
        load_bronze(self.connection, "late", self.lake, self.domain, self.later, [*keys, *order, *RECORD_IDENTITY])
        touched: pa.Table = self.connection.sql(
            f"select {names(ORIGIN, 'b')} from bronze b"
            f" where exists (select 1 from late l where {same(keys, 'l', 'b')})"
        ).to_arrow_table()
        self.connection.execute("insert into bronze by name from late")
        self.connection.execute("drop table late")
        return touched


@contextmanager
def bronze_of_date(
    lake: Lake, domain: Domain, day: date, files: Sequence[str], later: Sequence[str] = ()
) -> Iterator[BronzeOfDate]:
    """Read a date's files for as long as the block lasts.

    Args:
        files: The files to read; those that are gone are left out.
        later: Files that may be added within the block, see `BronzeOfDate.of_later_keys`.

    Raises:
        PlatformError: a file could not be read, though none is damaged.
    """
    listed = {file.name: file for file in lake.list_date(domain, day)}
    keys, order = domain.silver.primary_key, domain.silver.order_by
    with database() as connection:
        present, more = ([listed[name] for name in sorted(set(some)) if name in listed] for some in (files, later))
        unreadable = load_bronze(connection, "bronze", lake, domain, present, [*keys, *order, *RECORD_IDENTITY])
        gone = [name for name in (*files, *later) if name not in listed]
        newer = sorted(listed.keys() - {*files, *later})
        yield BronzeOfDate(connection, lake, domain, day, more, gone, newer, unreadable)
