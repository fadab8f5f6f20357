"""What a person would write instead of the platform's jobs: one date of events, by DuckDB and delta-rs.

`python -m benchmarks.day.duckdb_peer LAKE DATE`. It does the same work by hand-written SQL: every rule with its reason,
the hash over the record, the latest version of a key by a total order, a quarantine with whole records, the counts
that must add up, one Delta commit a table, and both Gold tables. `equality` holds it to that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

BATCH_ROWS = 100_000
SNAPPY = WriterProperties(compression="SNAPPY")

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
FUNNEL = ("app_open", "restaurant_view", "add_to_cart", "checkout_start", "order_placed")

DAY_OF_DATA = "(event_timestamp AT TIME ZONE 'UTC')::date"
LATEST = "epoch_us(coalesce(_kafka_timestamp, _ingested_at)) + 86400000000"
WHOLE_NUMBERS = " and ".join(
    f"(properties ->> '$.{name}' is null or try_cast(properties ->> '$.{name}' as bigint) is not null)"
    for name in ("menu_item_id", "quantity")
)
TEXTS = " and ".join(
    f"coalesce(json_type(properties, '$.{name}') in ('VARCHAR', 'NULL'), true)" for name in ("query", "payment_method")
)
READABLE = f"json_valid(properties) and json_type(properties) = 'OBJECT' and {WHOLE_NUMBERS} and {TEXTS}"
NOT_READABLE = "properties is no JSON object, or query, menu_item_id, quantity or payment_method in it is unreadable"
OF_EVERY_DOMAIN = "('primary_key_present', 'in_partition', 'version_not_ahead')"


def rules(day: str) -> list[tuple[str, str, str]]:
    """Return name, condition and reason of each rule, in the order in which the first broken one counts."""
    types = ", ".join(f"'{name}'" for name in EVENT_TYPES)
    return [
        ("primary_key_present", "event_id is not null", "event_id must not be null"),
        ("in_partition", f"{DAY_OF_DATA} = date '{day}'", "the UTC date of event_timestamp is not the partition's"),
        (
            "version_not_ahead",
            f"event_timestamp is null or epoch_us(event_timestamp) <= {LATEST}",
            "event_timestamp lies more than 24 hours after the record",
        ),
        ("known_event_type", f"event_type in ({types})", "the event type is not one of the eleven"),
        (
            "known_device_type",
            "device_type in ('ios', 'android', 'web')",
            "the device type is not ios, android or web",
        ),
        ("properties_readable", f"properties is null or ({READABLE})", NOT_READABLE),
        (
            "order_has_an_id",
            "event_type not in ('order_placed', 'order_tracked') or order_id is not null",
            "an order event without order_id cannot be joined to its order",
        ),
    ]


def judged(files: Sequence[str], day: str) -> str:
    """Return SQL for every Bronze row with its hash and the rules that it breaks."""
    broken = ", ".join(
        f"case when not coalesce({condition}, false) then '{name}: {_quoted(reason)}' end"
        for name, condition, reason in rules(day)
    )
    inputs = " || ".join(
        f"coalesce(length({text})::varchar || ':' || {text}, '-')"
        for text in (f"epoch_us({name})::varchar" if name in TIMES else f"{name}::varchar" for name in CONTRACT)
    )
    return f"""select *, sha256({inputs}) record_hash, concat_ws('; ', {broken}) reason
      from read_parquet({list(files)!r}, hive_partitioning = false)"""


TALLY = """
with records as (
  select split_part(reason, ':', 1) rule, event_id, _topic, _partition, _offset,
    case when reason <> '' then record_hash end bad_hash, count(*) copies
  from judged group by all),
keys as (select rule, event_id, sum(copies) copies, count(*) records from records group by all)
select rule, sum(copies)::bigint, sum(records)::bigint from keys group by rule
"""


def quarantine(day: str) -> str:
    """Return SQL for the rows that break a rule, a record's copies once, with the whole record as JSON."""
    fields = ", ".join(
        f"{name} := strftime({name} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')" if name in TIMES
        else f"{name} := {name}"
        for name in (*CONTRACT, *PLATFORM)
    )  # fmt: skip
    # Patching an empty object with the record leaves out what is null.
    return f"""select split_part(reason, ':', 1) "rule", reason, _topic topic, _partition "partition",
        _offset "offset", _kafka_timestamp kafka_timestamp, _schema_id schema_id, record_hash,
        json_merge_patch('{{}}'::json, to_json(struct_pack({fields})))::varchar record, date '{day}' event_date
      from judged where reason <> ''
      qualify row_number() over (partition by _topic, _partition, _offset, record_hash order by _ingested_at) = 1"""


def silver(day: str) -> str:
    """Return SQL for the latest version of each key, if it breaks no rule, with its properties parsed."""
    columns = ", ".join(name for name in CONTRACT if name != "properties")
    platform = ", ".join(name for name in PLATFORM if name != "_key")
    return f"""select {columns}, struct_pack("query" := properties ->> '$.query',
        menu_item_id := try_cast(properties ->> '$.menu_item_id' as bigint),
        quantity := try_cast(properties ->> '$.quantity' as bigint),
        payment_method := properties ->> '$.payment_method') properties,
        properties properties_json, record_hash, {platform}, date '{day}' event_date
      from (select * from judged where split_part(reason, ':', 1) not in {OF_EVERY_DOMAIN}
        qualify row_number() over (partition by event_id order by event_timestamp desc nulls last,
          _offset desc nulls last, _partition desc nulls last, record_hash, _ingested_at) = 1)
      where reason = ''"""


EVENTS = f"""
select event_date, hour(event_timestamp AT TIME ZONE 'UTC')::int event_hour, coalesce(city, 'unknown') city,
  device_type, count(*) events, count(distinct user_id) users, count(distinct session_id) sessions,
  {", ".join(f"count(*) filter (event_type = '{name}') {name}" for name in EVENT_TYPES)}
from silver group by all
"""


def funnel() -> str:
    """Return SQL for the sessions of a city that reached each step by all steps before it."""
    steps = ", ".join(f"max((event_type = '{step}')::int)::bigint {step}" for step in FUNNEL)
    reached = ", ".join(f"sum({' * '.join(FUNNEL[: number + 1])})::bigint {step}" for number, step in enumerate(FUNNEL))
    conversions = ", ".join(f"{_quotient(step, before)} {step}_conversion" for before, step in pairwise(FUNNEL))
    return f"""with sessions as (
        select event_date, session_id, coalesce(min(city), 'unknown') city, {steps}
        from silver group by event_date, session_id),
      counts as (select event_date, city, count(*) sessions, {reached} from sessions group by event_date, city)
      select *, {conversions}, {_quotient(FUNNEL[-1], FUNNEL[0])} total_conversion from counts"""


def main(arguments: Sequence[str]) -> None:
    """Process one date of a lake."""
    lake, day = Path(arguments[0]), arguments[1]
    connection = duckdb.connect()
    connection.execute(f"set threads = {os.cpu_count()}; set preserve_insertion_order = false; set timezone = 'UTC'")
    files = sorted(str(path) for path in (lake / "bronze" / "events" / f"event_date={day}").glob("*.parquet"))
    [(in_footers,)] = connection.execute(f"select sum(num_rows) from parquet_file_metadata({files!r})").fetchall()
    connection.execute(f"create temp table judged as {judged(files, day)}")
    counts = connection.execute(TALLY).fetchall()
    _refuse_other_count("rows of Bronze", sum(copies for _, copies, _ in counts), in_footers)
    bad = sum(records for rule, _, records in counts if rule)
    _refuse_other_count(
        "quarantined rows", _replace(connection, lake / "silver/events_quarantine", quarantine(day), day), bad
    )
    connection.execute(f"create temp table silver as {silver(day)}")
    [(latest,)] = connection.execute("select count(*) from silver").fetchall()
    _refuse_other_count("rows of Silver", _replace(connection, lake / "silver/events", "from silver", day), latest)
    _merge(connection, lake / "gold/events", EVENTS, ("event_date", "event_hour", "city", "device_type"), day)
    _merge(connection, lake / "gold/events_funnel", funnel(), ("event_date", "city"), day)


def _replace(connection: duckdb.DuckDBPyConnection, path: Path, query: str, day: str) -> int:
    """Replace a date of a table in one commit and return the rows that the commit says it wrote."""
    rows: pa.RecordBatchReader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
    table = _table(path, rows.schema, "event_date")
    write_deltalake(table, rows, mode="overwrite", predicate=f"event_date = '{day}'", writer_properties=SNAPPY)
    return int(DeltaTable(path).history(1)[0]["operationMetrics"]["num_added_rows"])


def _merge(connection: duckdb.DuckDBPyConnection, path: Path, query: str, keys: Sequence[str], day: str) -> None:
    """Make a date of a Gold table equal to a query by one MERGE."""
    rows = connection.sql(query).to_arrow_table()
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


def _table(path: Path, schema: pa.Schema, partition_column: str) -> DeltaTable:
    if DeltaTable.is_deltatable(str(path)):
        return DeltaTable(path)
    return DeltaTable.create(path, schema, partition_by=[partition_column])


def _refuse_other_count(what: str, counted: int, expected: int) -> None:
    if counted != expected:
        raise ValueError(f"{counted} {what} where {expected} were counted before")


def _quotient(part: str, whole: str) -> str:
    """Return SQL for an exact share with six places, rounded half up."""
    millionths = f"(2000000 * {part} + {whole}) // nullif(2 * {whole}, 0)"
    return f"({millionths} * 0.000001::decimal(9, 6))::decimal(9, 6)"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


if __name__ == "__main__":
    main(sys.argv[1:])
