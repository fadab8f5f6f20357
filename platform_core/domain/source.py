"""Where a domain's records come from: the block `source` of `domains.yaml`, one class a kind.

Add a kind here when a source must be read in a new way, and its producer to `producers`. What differs between two
sources of one kind is a key of the block. Nothing here touches a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from typing import Annotated, Literal

from pydantic import Field, field_validator

from platform_core.domain.contract import Column, ColumnType, Contract
from platform_core.domain.entry import NAME, Entry

TABLE = r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$"
COMMANDS_OF_THE_PROGRAM = ("provision",)


class _Source(Entry):
    """What every source has.

    Attributes:
        command: What its producer is called on the command line; the domain's name by default.
    """

    command: str | None = Field(None, pattern=NAME)

    @field_validator("command")
    @classmethod
    def _command_is_free(cls, value: str | None) -> str | None:
        if value in COMMANDS_OF_THE_PROGRAM:
            raise ValueError(f"`{value}` is another command of `python -m producers`")
        return value

    def mistakes(self, contract: Contract) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, what it must be) of each key that does not fit the contract."""
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

    def mistakes(self, contract: Contract) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, what it must be) of each key that does not fit the contract."""
        yield from _unless(contract, "key", self.key, ColumnType.INTEGER)
        for name in self.columns:
            if name not in contract.by_name:
                yield f"columns.{name}", name, "a property"


class PostgresCdc(PostgresTable):
    """Every version of every row that a poll sees, deleted rows included.

    Attributes:
        version: The column that orders the versions of a row; the table must stamp it after the transaction has its
            number, see docs/architecture.md.
        tombstones: The table of the last versions of rows that were deleted; without one, deletes are not seen.
        interval_seconds: From one poll to the next; `CDC_POLL_INTERVAL_SECONDS` by default.
    """

    kind: Literal["postgres_cdc"]
    version: str = Field("updated_at", pattern=NAME)
    tombstones: str | None = Field(None, pattern=TABLE)
    interval_seconds: float | None = Field(None, gt=0)

    def mistakes(self, contract: Contract) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, what it must be) of each key that does not fit the contract."""
        yield from super().mistakes(contract)
        yield from _unless(contract, "version", self.version, ColumnType.TIMESTAMP)
        if self.tombstones:
            yield from _unless(contract, "deleted_at", self.deleted_at, ColumnType.TIMESTAMP, nullable=True)


class PostgresIncrement(PostgresTable):
    """Once a day, the latest version of each row that changed since the last time.

    Attributes:
        version: As of `postgres_cdc`.
        tombstones: As of `postgres_cdc`.
        at: The time of day, UTC.
        stamp: The contract field that gets the time of the extraction.
    """

    kind: Literal["postgres_increment"]
    version: str = Field("updated_at", pattern=NAME)
    tombstones: str | None = Field(None, pattern=TABLE)
    # Shortly before midnight, so that a date's partition holds the changes of that date.
    at: time = time(23, 55)
    stamp: str

    def mistakes(self, contract: Contract) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, what it must be) of each key that does not fit the contract."""
        yield from super().mistakes(contract)
        yield from _unless(contract, "version", self.version, ColumnType.TIMESTAMP)
        yield from _unless(contract, "stamp", self.stamp, ColumnType.TIMESTAMP)
        if self.tombstones:
            yield from _unless(contract, "deleted_at", self.deleted_at, ColumnType.TIMESTAMP, nullable=True)


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

    def mistakes(self, contract: Contract) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, what it must be) of each key that does not fit the contract."""
        yield from super().mistakes(contract)
        yield from _unless(contract, "stamp", self.stamp, ColumnType.TIMESTAMP)
        yield from _unless(contract, "deleted_at", self.deleted_at, ColumnType.TIMESTAMP, nullable=True)
        for name, key in self.parts.items():
            items = contract.schema["properties"].get(name, {}).get("items", {})
            if name not in contract.by_name or key not in items.get("properties", {}):
                yield f"parts.{name}", key, "a property of the elements of an array"


Source = Annotated[
    Clickstream | PostgresCdc | PostgresIncrement | PostgresSnapshot,
    Field(discriminator="kind"),
]
PolledSource = PostgresCdc | PostgresIncrement
KINDS = ("clickstream", "postgres_cdc", "postgres_increment", "postgres_snapshot")


def _unless(
    contract: Contract, key: str, name: str, kind: ColumnType, *, nullable: bool = False
) -> Iterator[tuple[str, str, str]]:
    column: Column | None = contract.by_name.get(name)
    if column is None or column.type is not kind or column.nullable is not nullable:
        yield key, name, f"{'an optional' if nullable else 'a required'} property of type {kind}"
