"""What a person would write instead of the platform's jobs: one date of events, by Polars and delta-rs.

`python -m benchmarks.day.polars_peer LAKE DATE`. It does the same work as `duckdb_peer`, by Polars' expressions, and
`equality` holds it to that, too. The hash is polars-hash's, for Polars has none of cryptography.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import polars_hash

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

PROPERTIES = {"query": pl.String, "menu_item_id": pl.Int64, "quantity": pl.Int64, "payment_method": pl.String}
_TEXT = r'"[^"\\\x00-\x1f]*"'
_PAIR = "|".join(
    f'"{name}": ?({_TEXT if kind == pl.String else "0|-?[1-9][0-9]{0,14}"}|null)' for name, kind in PROPERTIES.items()
)
ORDINARY = rf"^\{{(({_PAIR})(, ?({_PAIR}))*)?\}}$"
"""Almost every text; another is read by itself, because one that is no JSON would end the whole query."""
RECORD_IDENTITY = ["_topic", "_partition", "_offset", "_kafka_timestamp"]
LATEST = ["event_timestamp", "_offset", "_partition", "_kafka_timestamp", "record_hash", "_ingested_at"]


def judged(files: list[str], day: date) -> pl.DataFrame:
    """Return every Bronze row with its hash, its parsed properties and the rules that it breaks."""
    rows = pl.scan_parquet(files, hive_partitioning=False)
    rows = rows.with_columns(_record_hash(), pl.col("properties").str.contains(ORDINARY).alias("is_ordinary"))
    text = pl.when("is_ordinary").then("properties")
    read = rows.with_columns(text.str.json_decode(pl.Struct(PROPERTIES)).alias("parsed")).collect()
    if read["is_ordinary"].eq(False).any():
        odd = pl.Series("parsed", list(map(_parsed, read["properties"])), pl.Struct(PROPERTIES))
        read = read.with_columns(pl.when("is_ordinary").then("parsed").otherwise(odd).alias("parsed"))
    met = conditions(day)
    broken = [pl.when(~met[name].fill_null(False)).then(pl.lit(f"{name}: {text}")) for name, text in REASONS.items()]
    return read.with_columns(pl.concat_str(broken, separator="; ", ignore_nulls=True).alias("reason")).with_columns(
        pl.col("reason").str.split(":").list.first().fill_null("").alias("rule")
    )


def _record_hash() -> pl.Expr:
    inputs = []
    for name in CONTRACT:
        column = pl.col(name)
        text = (column.dt.epoch("us") if name in TIMES else column).cast(pl.String)
        inputs.append(pl.concat_str([text.str.len_chars().cast(pl.String), pl.lit(":"), text]).fill_null("-"))
    hashed: pl.Expr = polars_hash.concat_str(inputs).chash.sha2_256()
    return hashed.alias("record_hash")


def _parsed(text: str | None) -> dict[str, Any] | None:
    """Return the properties of one text; None when it is no object or one of them is unreadable."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    properties = {name: found.get(name) for name in PROPERTIES}
    kinds = {name: str if kind == pl.String else int for name, kind in PROPERTIES.items()}
    is_readable = all(value is None or type(value) is kinds[name] for name, value in properties.items())
    return properties if is_readable else None


def conditions(day: date) -> dict[str, pl.Expr]:
    """Return the condition of each rule."""
    at, latest = pl.col("event_timestamp"), pl.coalesce("_kafka_timestamp", "_ingested_at") + timedelta(hours=24)
    return {
        "primary_key_present": pl.col("event_id").is_not_null(),
        "in_partition": at.dt.date() == day,
        "version_not_ahead": at.is_null() | (at <= latest),
        "known_event_type": pl.col("event_type").is_in(EVENT_TYPES),
        "known_device_type": pl.col("device_type").is_in(DEVICE_TYPES),
        "properties_readable": pl.col("properties").is_null() | pl.col("parsed").is_not_null(),
        "order_has_an_id": ~pl.col("event_type").is_in(ORDER_EVENTS) | pl.col("order_id").is_not_null(),
    }


def tally(rows: pl.DataFrame) -> pl.DataFrame:
    """Count rows, and records without their copies, by the first broken rule."""
    bad_hash = pl.when(pl.col("rule") != "").then("record_hash").alias("bad_hash")
    records = (
        rows.lazy()
        .select("rule", "event_id", *RECORD_IDENTITY, bad_hash)
        .group_by("rule", "event_id", *RECORD_IDENTITY, "bad_hash")
        .agg(copies=pl.len())
    )
    keys = records.group_by("rule", "event_id").agg(pl.sum("copies"), records=pl.len())
    return keys.group_by("rule").agg(pl.sum("copies"), pl.sum("records")).collect()


def quarantine(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the rows that break a rule, a record's copies once, with the whole record as JSON."""
    bad = rows.filter(pl.col("rule") != "").sort("_ingested_at")
    bad = bad.unique([*RECORD_IDENTITY, "record_hash"], keep="first", maintain_order=True)
    fields = [
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") if name in TIMES else pl.col(name)
        for name in (*CONTRACT, *PLATFORM)
    ]
    records = [
        json.dumps({name: value for name, value in row.items() if value is not None}, separators=(",", ":"))
        for row in bad.select(fields).to_dicts()
    ]
    renamed = ("_topic", "_partition", "_offset", "_kafka_timestamp", "_schema_id")
    return bad.select(
        "rule",
        "reason",
        *[pl.col(name).alias(name.removeprefix("_")) for name in renamed],
        "record_hash",
        pl.Series("record", records, pl.String),
        pl.lit(day).alias("event_date"),
    )


def silver(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the latest version of each key, if it breaks no rule."""
    versions = rows.lazy().filter(~pl.col("rule").is_in(OF_EVERY_DOMAIN))
    latest = versions.sort(LATEST, descending=[True, True, True, True, False, False], nulls_last=True).unique(
        "event_id", keep="first", maintain_order=True
    )
    return (
        latest.filter(pl.col("rule") == "")
        .select(
            *[name for name in CONTRACT if name != "properties"],
            pl.col("parsed").alias("properties"),
            pl.col("properties").alias("properties_json"),
            "record_hash",
            *[name for name in PLATFORM if name != "_key"],
            pl.lit(day).alias("event_date"),
        )
        .collect()
    )


def events(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the events of each hour, city and device."""
    return (
        rows.lazy()
        .group_by(
            "event_date",
            pl.col("event_timestamp").dt.hour().cast(pl.Int32).alias("event_hour"),
            pl.col("city").fill_null("unknown"),
            "device_type",
        )
        .agg(
            pl.len().cast(pl.Int64).alias("events"),
            pl.col("user_id").n_unique().cast(pl.Int64).alias("users"),
            pl.col("session_id").n_unique().cast(pl.Int64).alias("sessions"),
            *[(pl.col("event_type") == name).sum().cast(pl.Int64).alias(name) for name in EVENT_TYPES],
        )
        .collect()
    )


def funnel(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions of a city that reached each step by all steps before it."""
    steps = [(pl.col("event_type") == step).max().cast(pl.Int64).alias(step) for step in FUNNEL]
    sessions = (
        rows.lazy()
        .group_by("event_date", "session_id")
        .agg(pl.col("city").min().fill_null("unknown").alias("city"), *steps)
    )
    reached, so_far = [], pl.lit(1)
    for step in FUNNEL:
        so_far = so_far * pl.col(step)
        reached.append(so_far.sum().alias(step))
    counts = sessions.group_by("event_date", "city").agg(pl.len().cast(pl.Int64).alias("sessions"), *reached).collect()
    shares = [(step, before, f"{step}_conversion") for before, step in pairwise(FUNNEL)]
    shares.append((FUNNEL[-1], FUNNEL[0], "total_conversion"))
    return counts.with_columns(_share(counts, part, whole).alias(name) for part, whole, name in shares)


def _share(counts: pl.DataFrame, part: str, whole: str) -> pl.Series:
    """Return an exact share with six places, rounded half up."""
    pairs = zip(counts[part], counts[whole], strict=True)
    millionths = [(2_000_000 * some + all_) // (2 * all_) if all_ else None for some, all_ in pairs]
    return pl.Series([None if n is None else Decimal(n).scaleb(-6) for n in millionths], dtype=pl.Decimal(9, 6))


def main(arguments: Sequence[str]) -> None:
    """Process one date of a lake."""
    lake, text = Path(arguments[0]), arguments[1]
    day, files = date.fromisoformat(text), bronze_files(lake, text)
    in_footers = pl.scan_parquet(files, hive_partitioning=False).select(pl.len()).collect().item()
    rows = judged(files, day)
    counts = tally(rows)
    refuse_other_count("rows of Bronze", int(counts["copies"].sum()), in_footers)
    bad = int(counts.filter(pl.col("rule") != "")["records"].sum())
    quarantined = quarantine(rows, day).to_arrow()
    refuse_other_count("quarantined rows", replace(lake / "silver/events_quarantine", quarantined, text), bad)
    latest = silver(rows, day)
    del rows
    refuse_other_count("rows of Silver", replace(lake / "silver/events", latest.to_arrow(), text), len(latest))
    merge(lake / "gold/events", events(latest).to_arrow(), EVENTS_KEYS, text)
    merge(lake / "gold/events_funnel", funnel(latest).to_arrow(), FUNNEL_KEYS, text)


if __name__ == "__main__":
    main(sys.argv[1:])
