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

from benchmarks.day.by_hand import (
    CONTRACT,
    DEVICE_TYPES,
    EVENT_TYPES,
    EVENTS_KEYS,
    FUNNEL,
    FUNNEL_KEYS,
    OF_EVERY_DOMAIN,
    ORDER_EVENTS,
    PLATFORM,
    REASONS,
    TIMES,
    bronze_files,
    merge,
    refuse_other_count,
    replace,
)

BATCH_ROWS = 100_000

DAY_OF_DATA = "(event_timestamp AT TIME ZONE 'UTC')::date"
LATEST = "epoch_us(coalesce(_kafka_timestamp, _ingested_at)) + 86400000000"
WHOLE_NUMBERS = " and ".join(
    f"(properties ->> '$.{name}' is null or try_cast(properties ->> '$.{name}' as bigint) is not null)"
    for name in ("menu_item_id", "quantity")
)
TEXTS = " and ".join(
    f"coalesce(json_type(properties, '$.{name}') in ('VARCHAR', 'NULL'), true)" for name in ("query", "payment_method")
)
# Not by `and`, whose sides are all evaluated: a text that is no JSON would end the query.
READABLE = (
    "case when not json_valid(properties) then false when json_type(properties) <> 'OBJECT' then false"
    f" else {WHOLE_NUMBERS} and {TEXTS} end"
)


def conditions(day: str) -> dict[str, str]:
    """Return the SQL condition of each rule."""
    return {
        "primary_key_present": "event_id is not null",
        "in_partition": f"{DAY_OF_DATA} = date '{day}'",
        "version_not_ahead": f"event_timestamp is null or epoch_us(event_timestamp) <= {LATEST}",
        "known_event_type": f"event_type in {EVENT_TYPES}",
        "known_device_type": f"device_type in {DEVICE_TYPES}",
        "properties_readable": f"properties is null or ({READABLE})",
        "order_has_an_id": f"event_type not in {ORDER_EVENTS} or order_id is not null",
    }


def judged(files: Sequence[str], day: str) -> str:
    """Return SQL for every Bronze row with its hash and the rules that it breaks."""
    met = conditions(day)
    broken = ", ".join(
        f"case when not coalesce({met[name]}, false) then '{name}: {_quoted(reason)}' end"
        for name, reason in REASONS.items()
    )
    inputs = " || ".join(
        f"coalesce(length({text})::varchar || ':' || {text}, '-')"
        for text in (f"epoch_us({name})::varchar" if name in TIMES else f"{name}::varchar" for name in CONTRACT)
    )
    return f"""select *, sha256({inputs}) record_hash, concat_ws('; ', {broken}) reason
      from read_parquet({list(files)!r}, hive_partitioning = false)"""


TALLY = """
with records as (
  select split_part(reason, ':', 1) rule, event_id, _topic, _partition, _offset, _kafka_timestamp,
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
      qualify row_number() over (partition by _topic, _partition, _offset, _kafka_timestamp, record_hash
        order by _ingested_at) = 1"""


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
          _offset desc nulls last, _partition desc nulls last, _kafka_timestamp desc nulls last, record_hash,
          _ingested_at) = 1)
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
    files = bronze_files(lake, day)
    [(in_footers,)] = connection.execute(f"select sum(num_rows) from parquet_file_metadata({files!r})").fetchall()
    connection.execute(f"create temp table judged as {judged(files, day)}")
    counts = connection.execute(TALLY).fetchall()
    refuse_other_count("rows of Bronze", sum(copies for _, copies, _ in counts), in_footers)
    bad = sum(records for rule, _, records in counts if rule)
    quarantined = connection.sql(quarantine(day)).to_arrow_reader(BATCH_ROWS)
    refuse_other_count("quarantined rows", replace(lake / "silver/events_quarantine", quarantined, day), bad)
    connection.execute(f"create temp table silver as {silver(day)}")
    [(latest,)] = connection.execute("select count(*) from silver").fetchall()
    rows = connection.sql("from silver").to_arrow_reader(BATCH_ROWS)
    refuse_other_count("rows of Silver", replace(lake / "silver/events", rows, day), latest)
    merge(lake / "gold/events", connection.sql(EVENTS).to_arrow_table(), EVENTS_KEYS, day)
    merge(lake / "gold/events_funnel", connection.sql(funnel()).to_arrow_table(), FUNNEL_KEYS, day)


def _quotient(part: str, whole: str) -> str:
    """Return SQL for an exact share with six places, rounded half up."""
    millionths = f"(2000000 * {part} + {whole}) // nullif(2 * {whole}, 0)"
    return f"({millionths} * 0.000001::decimal(9, 6))::decimal(9, 6)"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


if __name__ == "__main__":
    main(sys.argv[1:])
