"""What the hand-written programs of a day have in common: the names of events, and a commit to a Delta table.

A program's own SQL or expressions are its own, in `duckdb_peer` and `polars_peer`; nothing of the platform is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

CONTRACT = (
    "event_id", "event_type", "event_timestamp", "user_id", "session_id", "device_type", "city", "restaurant_id",
    "order_id", "properties",
)  # fmt: skip
PLATFORM = (
    "_topic", "_partition", "_offset", "_kafka_timestamp", "_key", "_schema_id", "_ingested_at", "_extra",
)  # fmt: skip
TIMES = ("event_timestamp", "_kafka_timestamp", "_ingested_at")
EVENT_TYPES = (
    "app_open", "search", "restaurant_view", "menu_item_view", "add_to_cart", "remove_from_cart", "checkout_start",
    "payment_attempt", "order_placed", "order_tracked", "app_close",
)  # fmt: skip
DEVICE_TYPES = ("ios", "android", "web")
ORDER_EVENTS = ("order_placed", "order_tracked")
FUNNEL = ("app_open", "restaurant_view", "add_to_cart", "checkout_start", "order_placed")

REASONS = {
    "primary_key_present": "event_id must not be null",
    "in_partition": "the UTC date of event_timestamp is not the partition's",
    "version_not_ahead": "event_timestamp lies more than 24 hours after the record",
    "known_event_type": "the event type is not one of the eleven",
    "known_device_type": "the device type is not ios, android or web",
    "properties_readable": (
        "properties is no JSON object, or query, menu_item_id, quantity or payment_method in it is unreadable"
    ),
    "order_has_an_id": "an order event without order_id cannot be joined to its order",
}
"""Each rule and its reason, in the order in which the first broken one counts."""
OF_EVERY_DOMAIN = ("primary_key_present", "in_partition", "version_not_ahead")
"""A row that breaks one of these is no version of its key."""

EVENTS_KEYS = ("event_date", "event_hour", "city", "device_type")
FUNNEL_KEYS = ("event_date", "city")

_SNAPPY = WriterProperties(compression="SNAPPY")


def bronze_files(lake: Path, day: str) -> list[str]:
    """Return the paths of a date's files."""
    return sorted(str(path) for path in (lake / "bronze" / "events" / f"event_date={day}").glob("*.parquet"))


def replace(path: Path, rows: pa.Table | pa.RecordBatchReader, day: str) -> int:
    """Replace a date of a table in one commit and return the rows that the commit says it wrote."""
    table = _table(path, rows.schema, "event_date")
    write_deltalake(table, rows, mode="overwrite", predicate=f"event_date = '{day}'", writer_properties=_SNAPPY)
    return int(DeltaTable(path).history(1)[0]["operationMetrics"]["num_added_rows"])


def merge(path: Path, rows: pa.Table, keys: Sequence[str], day: str) -> None:
    """Make a date of a Gold table equal to rows by one MERGE."""
    values = [name for name in rows.column_names if name not in keys]
    same = " and ".join(f"(t.{key} is not distinct from s.{key})" for key in keys)
    differs = " or ".join(f"(t.{name} is distinct from s.{name})" for name in values)
    (
        _table(path, rows.schema, keys[0])
        .merge(rows, f"t.{keys[0]} = date'{day}' and {same}", source_alias="s", target_alias="t")
        .when_matched_update({name: f"s.{name}" for name in values}, differs)
        .when_not_matched_insert({name: f"s.{name}" for name in rows.column_names})
        .when_not_matched_by_source_delete(f"t.{keys[0]} = date'{day}'")
        .execute()
    )


def refuse_other_count(what: str, counted: int, expected: int) -> None:
    """Raise when what was counted twice differs."""
    if counted != expected:
        raise ValueError(f"{counted} {what} where {expected} were counted before")


def _table(path: Path, schema: pa.Schema, partition_column: str) -> DeltaTable:
    if DeltaTable.is_deltatable(str(path)):
        return DeltaTable(path)
    return DeltaTable.create(path, schema, partition_by=[partition_column])
