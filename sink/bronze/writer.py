"""What a file of Bronze is named, and its rows as Parquet with a footer.

Columns belong to `sink.bronze.arrow`, the store to `sink.bronze.store`. A file keeps its name and its bytes until the
store has them (`sink.bronze.file`), so that an answer lost on the way makes no second file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.clock import Clock
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.offset_ranges import OffsetRanges
from sink.bronze.arrow import to_table
from sink.bronze.file import PendingFile

# Rows become Arrow columns and a row group so many at a time: the copy that encoding needs is about 20 MB for each
# of the parallel writes, however large the buffer is.
ROW_GROUP_ROWS = 20_000

TAKEN_BYTES = 1 << 30
"""Arrow orders a column of texts up to 2 GiB; JSON text in a column may be longer than it was in the record."""


class Writer:
    """Names and encodes files of any domain; safe to call from several threads, for different files.

    Args:
        lake: For paths.
        domains: The domains whose topics are consumed.
        clock: Gives file names and `_ingested_at` their time.
    """

    def __init__(self, lake: Lake, domains: Iterable[Domain], clock: Clock) -> None:
        self._lake = lake
        self._clock = clock
        self._domains = {domain.topic.name: (domain, bronze_schema(domain.contract)) for domain in domains}

    def new_name(self, file: PendingFile) -> str:
        """Return a name that no other file has."""
        folder = self._lake.bronze_partition(self._domains[file.topic][0], file.day)
        stamp = self._clock.now().strftime("%Y%m%dT%H%M%S%fZ")
        return f"{folder}/part-{stamp}-{uuid.uuid4().hex[:8]}.parquet"

    def encode(self, file: PendingFile, name: str) -> tuple[LedgerRecord, pa.Buffer]:
        """Return what the ledger will say of a file of that name, and its bytes."""
        domain, schema = self._domains[file.topic]
        now = self._clock.now()
        rows = file.rows
        order = sorted(range(len(rows)), key=list(zip(rows.partitions, rows.offsets, strict=True)).__getitem__)
        offsets = {
            partition: OffsetRanges.from_offsets(rows.offsets[number] for number in of_partition)
            for partition, of_partition in groupby(order, key=rows.partitions.__getitem__)
        }
        footer = BronzeFooter(domain.name, file.topic, offsets).named(name).to_metadata()
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema.with_metadata(footer), compression="snappy") as parquet:
            if len(rows) <= ROW_GROUP_ROWS and sum(rows.sizes) <= TAKEN_BYTES:
                # Ordered in Arrow, five times as fast as lists. An order without a type would import pandas.
                table = to_table(domain.contract, schema, file.topic, rows, now)
                parquet.write_table(table.take(pa.array(order, pa.int64())))
            else:
                for start in range(0, len(rows), ROW_GROUP_ROWS):
                    chunk = rows.pick(order[start : start + ROW_GROUP_ROWS])
                    parquet.write_table(to_table(domain.contract, schema, file.topic, chunk, now))
        data = sink.getvalue()
        record = LedgerRecord(domain.name, file.topic, file.day, name, len(rows), data.size, offsets, now)
        return record, data
