"""Bronze as the sink leaves it: seeded events, decoded and encoded by the sink's own code, a file a minute.

Kafka is left out: offsets are counted here. What the events are belongs to `simulation.history`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.formats.wire_format import header
from simulation.history.clicks_day import make_clicks
from simulation.history.encoding import encode
from simulation.history.orders_day import make_orders, orders_for
from simulation.world import World
from sink.bronze.file import PendingFile
from sink.bronze.writer import Writer
from sink.records.buffer import Buffer, SealReason
from sink.records.decoding import Decoder, Refusal
from sink.records.rows import Rows

SEED = 7
FLUSH_ROWS = 1_000
"""The sink's default: a busy minute becomes several files."""

_SCHEMA_ID = 7


@dataclass
class _FlushClock:
    """A clock that stands at the moment of a flush."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()


def write_day(lake: Lake, domain: Domain, day: date, events: int, seconds_a_file: int = 60) -> int:
    """Write one date of Bronze and return its number of files.

    Args:
        domain: The clickstream's.
        events: Unique events; some are delivered twice, some break a rule.
        seconds_a_file: How often the sink flushes.
    """
    midnight = datetime.combine(day, time(), UTC)
    rows = _rows(domain, day, events)
    intervals: dict[int, list[int]] = defaultdict(list)
    for row, at in enumerate(rows.timestamps):
        assert at is not None
        intervals[(at // 1_000_000 - int(midnight.timestamp())) // seconds_a_file].append(row)
    files = 0
    clock = _FlushClock(midnight)
    writer = Writer(lake, [domain], clock)
    Path(lake.uri(lake.bronze_partition(domain, day))).mkdir(parents=True)
    for number in sorted(intervals):
        clock.at = midnight + timedelta(seconds=(number + 1) * seconds_a_file)
        flushes = iter(intervals[number])
        while flushed := list(islice(flushes, FLUSH_ROWS)):
            buffer = Buffer(domain.topic.name, day, 0.0)
            buffer.add(rows.pick(flushed))
            file = PendingFile(buffer, SealReason.AGE)
            name = writer.new_name(file)
            _, data = writer.encode(file, name)
            Path(lake.uri(name)).write_bytes(data)
            files += 1
    return files


def _rows(domain: Domain, day: date, events: int) -> Rows:
    """Return a day's events as the sink decodes them, a Kafka partition by the key, in the order they are sent."""
    world, now = World(SEED), datetime.now(UTC)
    decoder = Decoder(domain, 1 << 20, timedelta(days=36_500))
    offsets: dict[int, int] = defaultdict(int)
    rows = Rows()
    clicks = make_clicks(world, make_orders(world, day, orders_for(events)), events)
    for keys, values in encode(world, clicks, header(_SCHEMA_ID)):
        for key, value in zip(keys, values, strict=True):
            record = decoder.decode(key, value, now)
            if isinstance(record, Refusal):
                raise ValueError(f"The sink refuses what the history made: {record.message}")
            partition = int(key) % domain.topic.partitions
            at = record.values[domain.contract.columns.index(domain.contract.by_name[domain.bronze.timestamp_col])]
            sent_at = int(at.timestamp() * 1_000_000)
            rows.extend(Rows.of_record(partition, offsets[partition], sent_at, record, len(value)))
            offsets[partition] += 1
    return rows
