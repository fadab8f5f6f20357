"""A large date of Bronze: a day of seeded events, many times over, each time with other ids and offsets.

What an event is belongs to `benchmarks.day.bronze`; making each of ten million by itself would take an hour.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.day.bronze import write_day
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges

FILE_ROWS = 20_000
_IDS = ("event_id", "session_id")


def write_large_day(lake: Lake, scratch: Lake, domain: Domain, day: date, events: int, copies: int) -> int:
    """Write one date of Bronze and return its rows.

    Args:
        lake: Gets the date.
        scratch: Gets the events that are copied.
        domain: The clickstream's.
        events: Unique events of one copy; a few are delivered twice, or break a rule.
        copies: How many.
    """
    write_day(scratch, domain, day, events, seconds_a_file=3600)
    schema = bronze_schema(domain.contract)
    table = pq.read_table(scratch.uri(scratch.bronze_partition(domain, day)), schema=schema, partitioning=None)
    table = table.sort_by([("_partition", "ascending"), ("_offset", "ascending")])
    stride = pc.max(table["_offset"]).as_py() + 1
    folder = lake.bronze_partition(domain, day)
    Path(lake.uri(folder)).mkdir(parents=True)
    for copy in range(copies):
        rows = _copy(table, copy, stride)
        for number, start in enumerate(range(0, rows.num_rows, FILE_ROWS)):
            name = f"{folder}/part-{copy:04}-{number:04}.parquet"
            _write(rows.slice(start, FILE_ROWS), lake, domain, name)
    return table.num_rows * copies


def _copy(table: pa.Table, copy: int, stride: int) -> pa.Table:
    """Return the rows with ids of their own, whose first characters are the copy's number."""
    for column in _IDS:
        # The same length: an id has a form that a rule may ask for.
        own = pc.utf8_replace_slice(table[column], 0, 4, f"{copy:04x}")
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), own)
    offsets = pc.add(table["_offset"], copy * stride)
    return table.set_column(table.schema.get_field_index("_offset"), table.schema.field("_offset"), offsets)


def _write(rows: pa.Table, lake: Lake, domain: Domain, name: str) -> None:
    offsets = {
        partition: OffsetRanges.from_offsets(
            rows.filter(pc.equal(rows["_partition"], partition))["_offset"].to_pylist()
        )
        for partition in sorted(rows["_partition"].unique().to_pylist())
    }
    footer = BronzeFooter(domain.name, domain.topic.name, offsets).named(name).to_metadata()
    pq.write_table(rows.replace_schema_metadata(footer), lake.uri(name), compression="snappy")
