"""Where a domain's records come from: the block `source` of `domains.yaml`, one class a kind.

Add a kind here when a source must be read in a new way, and its producer to `producers`. What differs between two
sources of one kind is a key of the block. Nothing here touches a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from typing import Annotated, Literal

from pydantic import Field

from platform_core.domain.contract import ColumnType, Contract
from platform_core.domain.entry import NAME, Entry, TimeOfDay

TABLE = r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$"
COMMANDS_OF_THE_PROGRAM = ("provision",)

Mistake = tuple[str, str, str]
"""A key of domains.yaml that does not fit the contract: the key, its value, and what it must be."""


class _Source(Entry):
    """What every source has.

    Attributes:
        command: What its producer is called on the command line; the domain's name by default.
    """

    command: str | None = Field(None, pattern=NAME)

    def mistakes(self, contract: Contract) -> Iterator[Mistake]:
        """Yield the keys that do not fit the contract."""
        yield from ()


class Clickstream(_Source):
    """The visits of virtual users; there is no table to read."""

    kind: Literal["clickstream"]


class PostgresTable(_Source):
    """A table of the source database, and how a row of it becomes a record.

    A contract field is the table's column of the same name, money as text and times in UTC.

    Attributes:
        key: The primary key, an integer.
        deleted_at: The column that marks a deleted row.
        columns: SQL expressions over a row, for contract fields that are no column of the table. In a tombstone such a
            field is a column.
    """

    table: str = Field(pattern=TABLE)
    key: str = Field(pattern=NAME)
    deleted_at: str = Field("deleted_at", pattern=NAME)
    columns: dict[str, str] = Field(default_factory=dict)

    def mistakes(self, contract: Contract) -> Iterator[Mistake]:
        """Yield the keys that do not fit the contract."""
        yield from unless(contract, "source.key", self.key, ColumnType.INTEGER)
        for name in self.columns:
            if name not in contract.by_name:
                yield f"source.columns.{name}", name, "a property"


class PolledTable(PostgresTable):
    """A table of which a poll reads what changed since the last one.

    Attributes:
        version: The column that orders the versions of a row; the table must stamp it after the transaction has its
            number, see docs/architecture.md.
        tombstones: The table of the last versions of rows that were deleted; without one, deletes are not seen.
    """

    version: str = Field("updated_at", pattern=NAME)
    tombstones: str | None = Field(None, pattern=TABLE)

    def mistakes(self, contract: Contract) -> Iterator[Mistake]:
        """Yield the keys that do not fit the contract."""
        yield from super().mistakes(contract)
        yield from unless(contract, "source.version", self.version, ColumnType.TIMESTAMP)
        if self.tombstones:
            yield from unless(contract, "source.deleted_at", self.deleted_at, ColumnType.TIMESTAMP, nullable=True)


class PostgresCdc(PolledTable):
    """Every version of every row that a poll sees, deleted rows included.

    Attributes:
        interval_seconds: From one poll to the next; `CDC_POLL_INTERVAL_SECONDS` by default.
    """

    kind: Literal["postgres_cdc"]
    interval_seconds: float | None = Field(None, strict=True, gt=0)


class PostgresIncrement(PolledTable):
    """Once a day, the latest version of each row that changed since the last time.

    Attributes:
        at: The time of day, UTC.
        stamp: The contract field that gets the time of the extraction.
    """

    kind: Literal["postgres_increment"]
    # Shortly before midnight, so that a date's partition holds the changes of that date.
    at: TimeOfDay = time(23, 55)
    stamp: str

    def mistakes(self, contract: Contract) -> Iterator[Mistake]:
        """Yield the keys that do not fit the contract."""
        yield from super().mistakes(contract)
        yield from unless(contract, "source.stamp", self.stamp, ColumnType.TIMESTAMP)


class PostgresSnapshot(PostgresTable):
    """The whole table at fixed hours; a row that is no longer there is sent once more as deleted.

    Attributes:
        every_hours: Hours from one snapshot to the next, counted from midnight UTC.
        stamp: The contract field that gets the time of the snapshot.
        parts: Lists within a record whose elements may not vanish in masses either, and the key of their elements.
    """

    kind: Literal["postgres_snapshot"]
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = 1
    stamp: str
    parts: dict[str, str] = Field(default_factory=dict)

    def mistakes(self, contract: Contract) -> Iterator[Mistake]:
        """Yield the keys that do not fit the contract."""
        yield from super().mistakes(contract)
        yield from unless(contract, "source.stamp", self.stamp, ColumnType.TIMESTAMP)
        yield from unless(contract, "source.deleted_at", self.deleted_at, ColumnType.TIMESTAMP, nullable=True)
        for name, key in self.parts.items():
            items = contract.schema["properties"].get(name, {}).get("items", {})
            if name not in contract.by_name or key not in items.get("properties", {}):
                yield f"source.parts.{name}", key, "a property of the elements of an array"


Source = Annotated[
    Clickstream | PostgresCdc | PostgresIncrement | PostgresSnapshot,
    Field(discriminator="kind"),
]
KINDS = ("clickstream", "postgres_cdc", "postgres_increment", "postgres_snapshot")


def unless(contract: Contract, key: str, name: str, *kinds: ColumnType, nullable: bool = False) -> Iterator[Mistake]:
    """Yield a mistake unless a contract field has one of the types, and is required or optional as it must be."""
    column = contract.by_name.get(name)
    if column is None or column.type not in kinds or column.nullable is not nullable:
        yield key, name, f"{'an optional' if nullable else 'a required'} property of type {' or '.join(kinds)}"
