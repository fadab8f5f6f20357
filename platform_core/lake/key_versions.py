"""The latest version of each key of each date, of a domain whose primary key is unique over all dates.

Which date has a row is decided here, from keys and versions alone: the one with the latest version. How Silver leaves
an outdated row out belongs to the Spark job, which dates are corrected for it to `processing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from platform_core.domain.catalog import Domain
from platform_core.errors import TransientError
from platform_core.lake.delta_rows import read_date, rows_of
from platform_core.lake.duckdb_memory import comparable, database, late_duckdb
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering

if TYPE_CHECKING:
    import duckdb

REFUSED = "_is_refused"
"""Whether a rule of the domain refuses the version: it is the latest all the same, and its key is withheld."""

_HASH = "_key_hash"


def version_columns(domain: Domain) -> list[str]:
    """Return the columns that name a version and order it among those of its key; the date is another one."""
    silver = domain.silver
    return list(dict.fromkeys([*silver.primary_key, *silver.order_by, "_partition", "_offset"]))


@dataclass(frozen=True)
class Moves:
    """What the versions of one date mean for it and for other dates.

    Attributes:
        versions: The latest version of each key of the date.
        outdated: Keys of good versions of the date of which another date has a later one.
        dates: Other dates that lose a row because of the date's versions, or get one back, and how many.
    """

    versions: pa.Table
    outdated: pa.Table
    dates: Mapping[date, int]


class KeyVersions:
    """One domain's table of latest versions, beside Silver.

    Args:
        lake: Where it lies.
        domain: A domain with `silver.global_key`.
    """

    def __init__(self, lake: Lake, domain: Domain) -> None:
        self._lake = lake
        self._domain = domain
        self.uri = lake.uri(lake.key_versions(domain))

    def of_date(self, day: date) -> pa.Table | None:
        """Return the versions of a date as they are stored, None if nobody has created the table."""
        table = self._open()
        if table is None:
            return None
        with answering(self.uri, "read"):
            rows = read_date(self._lake, table, self._domain.partition_key, day)
        return rows.drop_columns([_HASH, self._domain.partition_key])

    def compare(self, day: date, versions: pa.Table) -> Moves:
        """Decide which of a date's keys other dates have in a later version, and which dates that changes.

        Versions of a key are ordered over dates as within one: by `order_by`, then by offset and Kafka partition; of
        two that are equal in all of them the later date counts.

        Args:
            versions: The latest version of each key of the date, with `version_columns` and `REFUSED`.

        Raises:
            TransientError: the table could not be read.
        """
        key, keys = f'"{self._domain.partition_key}"', self._keys
        versions = _as_stored(versions)
        table, before = self._open(), self.of_date(day)
        if table is None or before is None:
            return Moves(versions, versions.select(list(self._domain.silver.primary_key)).slice(0, 0), {})
        try:
            with database() as connection:
                connection.register("present", _dated(versions, self._domain, day))
                connection.register("before", _dated(before, self._domain, day))
                connection.register("stored", rows_of(self._lake, table))
                self._load_others(connection, day, versions.schema)
                for name in ("present", "before"):
                    connection.execute(self._latest_of(name))
                outdated = connection.sql(
                    f"select {keys} from present semi join (from latest_present where {key} <> date '{day}')"
                    f" using ({keys}) where not {REFUSED} order by all"
                ).to_arrow_table()
                dates = connection.execute(self._changed_dates(day)).fetchall()
        except (OSError, late_duckdb().IOException, pa.ArrowException) as error:
            raise TransientError(f"`{self.uri}` could not be read: {error}. The date is tried again.") from error
        return Moves(versions, outdated, dict(dates))

    @property
    def _keys(self) -> str:
        return ", ".join(f'"{name}"' for name in self._domain.silver.primary_key)

    def _load_others(self, connection: duckdb.DuckDBPyConnection, day: date, schema: pa.Schema) -> None:
        """Make a table of what other dates have of the keys that the date has or had.

        All dates are searched by a number a key, a fifth of the CPU of the keys' texts, and only those with a hit are
        read; files whose statistics exclude an integer key are not opened.
        """
        key, keys, first = f'"{self._domain.partition_key}"', self._keys, self._domain.silver.primary_key[0]
        connection.execute(
            f"create temp table asked as select *, {self._hash} as {_HASH}"
            f" from (select {keys} from present union select {keys} from before)"
        )
        bounds = connection.execute(f'select min("{first}"), max("{first}") from asked').fetchone()
        is_number = pa.types.is_integer(schema.field(first).type)
        hits = connection.execute(
            f"select distinct {key} from stored semi join asked using ({_HASH}) where {key} <> date '{day}'"
            + (f' and "{first}" between ? and ?' if is_number else ""),
            bounds if is_number else None,
        ).fetchall()
        dates = ", ".join(f"date '{other}'" for [other] in hits) or "null"
        connection.execute(
            f"create temp table others as select stored.* exclude ({_HASH}) from stored semi join asked using ({keys})"
            f" where {key} in ({dates})"
        )

    @property
    def _hash(self) -> str:
        """The SQL of a key's number: of 63 bits, and the same in every version of DuckDB."""
        return f"(md5_number_lower(concat_ws(chr(31), {self._keys})) >> 1)::bigint"

    def _latest_of(self, of_date: str) -> str:
        """Return the SQL of a table of the latest versions of other dates' keys, as the date has them or had them."""
        keys = self._keys
        order = (f'"{name}" desc nulls last' for name in (*self._domain.silver.order_by, "_offset", "_partition"))
        return (
            f"create temp table latest_{of_date} as"
            f" from (from others union all by name from {of_date} semi join others using ({keys}))"
            f" qualify row_number() over (partition by {keys}"
            f' order by {", ".join(order)}, "{self._domain.partition_key}" desc) = 1'
        )

    def _changed_dates(self, day: date) -> str:
        """Return the SQL of other dates that lose a row or get one back: a refused version has none to lose."""
        key, keys = f'"{self._domain.partition_key}"', self._keys
        changed = f"select {keys} from latest_present a join latest_before b using ({keys}) where a.{key} <> b.{key}"
        return (
            f"select {key}, count(*) from (from latest_present union all by name from latest_before)"
            f" semi join ({changed}) using ({keys})"
            f" where {key} <> date '{day}' and not {REFUSED} group by all"
        )

    def replace(self, day: date, versions: pa.Table) -> None:
        """Store the versions of a date in place of those that it had, in one commit.

        Raises:
            TransientError: the table could not be written.
        """
        key = self._domain.partition_key
        with database() as connection:
            connection.register("versions", versions)
            data = connection.sql(f"select *, {self._hash} as {_HASH} from versions order by {_HASH}").to_arrow_table()
        data = _as_stored(_dated(data, self._domain, day))
        try:
            if self._open() is None:
                DeltaTable.create(
                    self.uri,
                    schema=data.schema,
                    mode="ignore",
                    partition_by=[key],
                    storage_options=self._lake.storage_options or None,
                )
            # A key or an `order_by` that domains.yaml has gained becomes a column, NULL on dates not processed since.
            write_deltalake(
                self._lake.delta(self._lake.key_versions(self._domain)),
                data,
                mode="overwrite",
                predicate=f"\"{key}\" = '{day.isoformat()}'",
                schema_mode="merge",
            )
        except Exception as error:  # delta-rs raises several unrelated classes for a lost race or an absent store
            raise TransientError(
                f"The versions of `{self._domain.name}` {day} could not be written to `{self.uri}`: {error}. The date"
                " is tried again."
            ) from error

    def _open(self) -> DeltaTable | None:
        return self._lake.delta_or_none(self._lake.key_versions(self._domain))


def _dated(versions: pa.Table, domain: Domain, day: date) -> pa.Table:
    return versions.append_column(domain.partition_key, pa.array([day] * len(versions), pa.date32()))


def _as_stored(versions: pa.Table) -> pa.Table:
    """Return rows in the types that the table has, whichever engine they come from."""
    return versions.cast(pa.schema([pa.field(field.name, comparable(field.type)) for field in versions.schema]))
