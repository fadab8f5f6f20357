"""What a file of Bronze is named, and its rows as Parquet with a footer.

Columns belong to `sink.bronze.arrow`, the store to `platform_core.lake.store`. A file keeps its name and its bytes
until the store has them (`sink.bronze.file`), so that an answer lost on the way makes no second file.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
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

# Rows become Arrow columns and a row group so many at a time: the copy that encoding needs is about 20 MB, however
# large the buffer is.
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
        self._repeated = {topic: _repeated(*each) for topic, each in self._domains.items()}

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
        partitions, kafka_offsets = np.array(rows.partitions, np.int32), np.array(rows.offsets, np.int64)
        order = np.lexsort((kafka_offsets, partitions))
        offsets = _offset_ranges(partitions[order], kafka_offsets[order])
        footer = BronzeFooter(domain.name, file.topic, offsets).named(name).to_metadata()
        sink = pa.BufferOutputStream()
        named, repeated = schema.with_metadata(footer), self._repeated[file.topic]
        with pq.ParquetWriter(sink, named, compression="snappy", use_dictionary=repeated) as parquet:
            if len(rows) <= ROW_GROUP_ROWS and sum(rows.sizes) <= TAKEN_BYTES:
                # Ordered in Arrow, five times as fast as lists.
                table = to_table(domain.contract, schema, file.topic, rows, now)
                in_order = bool((np.diff(order) == 1).all())  # as a backlog of one Kafka partition is
                parquet.write_table(table if in_order else table.take(pa.array(order)))
            else:
                for start in range(0, len(rows), ROW_GROUP_ROWS):
                    chunk = rows.pick(order[start : start + ROW_GROUP_ROWS].tolist())
                    parquet.write_table(to_table(domain.contract, schema, file.topic, chunk, now))
        data = sink.getvalue()
        record = LedgerRecord(domain.name, file.topic, file.day, name, len(rows), data.size, offsets, now)
        return record, data


def _repeated(domain: Domain, schema: pa.Schema) -> list[str]:
    """Return the columns that a dictionary makes smaller; of the others it costs 5 % of a file, and CPU."""
    key = domain.silver.primary_key
    unique = {"_offset", key[0] if len(key) == 1 else ""}
    differing = {each.name for each in schema if pa.types.is_timestamp(each.type)} - {"_ingested_at"}
    return [name for name in schema.names if name not in unique | differing]


def _offset_ranges(partitions: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> dict[int, OffsetRanges]:
    """Return the offsets of each Kafka partition of rows that are in this order."""
    follows = (np.diff(partitions) == 0) & (np.diff(offsets) == 1)
    starts = np.flatnonzero(np.concatenate(([True], ~follows)))
    stops = np.append(starts[1:], len(offsets))
    ranges: dict[int, list[tuple[int, int]]] = {}
    for partition, first, last in zip(
        partitions[starts].tolist(), offsets[starts].tolist(), offsets[stops - 1].tolist(), strict=True
    ):
        ranges.setdefault(partition, []).append((first, last))
    return {partition: OffsetRanges.of(*of_partition) for partition, of_partition in ranges.items()}
