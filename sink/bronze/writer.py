"""A sealed buffer to one Parquet file in Bronze: its name, its footer, its PUT.

Columns belong to `sink.bronze.arrow`, the store to `sink.bronze.store`. Writing the same buffer again after an outage
gives the same name and the same bytes, so that an answer lost on the way makes no second file; what a killed process
leaves behind is the business of `sink.bronze.journal`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.clock import Clock
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from sink.bronze.arrow import bronze_schema, to_table
from sink.bronze.store import Store
from sink.buffer import Buffer

# Rows become Arrow columns and a row group so many at a time: the copy that encoding needs is about 20 MB for each
# of the parallel writes, however large the buffer is.
ROW_GROUP_ROWS = 20_000


@dataclass(frozen=True)
class WrittenFile:
    """A file that the store has taken.

    Attributes:
        domain: The domain's name.
        topic: The raw topic.
        name: Path below the lake's root.
        rows: Number of rows.
        size: Bytes.
        offsets: Kafka partition to exactly the offsets that its rows have.
        written_at: When it was encoded, UTC; `_ingested_at` of its rows.
    """

    domain: str
    topic: str
    day: date
    name: str
    rows: int
    size: int
    offsets: dict[int, OffsetRanges]
    written_at: datetime


class Writer:
    """Writes buffers of any domain; safe to call from several threads, for different buffers.

    Args:
        store: Takes the files.
        domains: The domains whose topics are consumed.
        clock: Gives file names and `_ingested_at` their time.
    """

    def __init__(self, lake: Lake, store: Store, domains: Iterable[Domain], clock: Clock) -> None:
        self._lake = lake
        self._store = store
        self._clock = clock
        self._domains = {domain.topic.name: (domain, bronze_schema(domain.contract)) for domain in domains}
        self._names: WeakKeyDictionary[Buffer, tuple[int, datetime, str]] = WeakKeyDictionary()
        self._encoded: WeakKeyDictionary[Buffer, tuple[int, WrittenFile, pa.Buffer]] = WeakKeyDictionary()

    def name(self, buffer: Buffer) -> str:
        """Return the name that the file of a sealed buffer has or will have; another one after rows were dropped."""
        return self._named(buffer)[1]

    def write(self, buffer: Buffer) -> WrittenFile:
        """Encode a sealed buffer and put it into Bronze.

        Raises:
            TransientError: the store did not take it; call again with the same buffer.
        """
        kept = self._encoded.get(buffer)
        if kept is None or kept[0] != buffer.version:
            kept = (buffer.version, *self._encode(buffer))
            self._encoded[buffer] = kept
        _, file, data = kept
        self._store.put(file.name, data)
        return file

    def _named(self, buffer: Buffer) -> tuple[datetime, str]:
        kept = self._names.get(buffer)
        if kept is None or kept[0] != buffer.version:
            now = self._clock.now()
            folder = self._lake.bronze_partition(self._domains[buffer.topic][0], buffer.day)
            stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
            kept = self._names[buffer] = (buffer.version, now, f"{folder}/part-{stamp}-{uuid.uuid4().hex[:8]}.parquet")
        return kept[1:]

    def _encode(self, buffer: Buffer) -> tuple[WrittenFile, pa.Buffer]:
        domain, schema = self._domains[buffer.topic]
        now, name = self._named(buffer)
        rows = sorted(buffer.rows, key=lambda row: (row.partition, row.offset))
        offsets = {
            partition: OffsetRanges.from_offsets(row.offset for row in of_partition)
            for partition, of_partition in groupby(rows, key=lambda row: row.partition)
        }
        footer = BronzeFooter(domain.name, buffer.topic, offsets).to_metadata()
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema.with_metadata(footer), compression="snappy") as file:
            for start in range(0, len(rows), ROW_GROUP_ROWS):
                chunk = rows[start : start + ROW_GROUP_ROWS]
                file.write_table(to_table(domain.contract, schema, buffer.topic, chunk, now))
        data = sink.getvalue()
        written = WrittenFile(domain.name, buffer.topic, buffer.day, name, len(rows), data.size, offsets, now)
        return written, data
