"""One file of the rows of several, and the proof that the store has them all.

What is compared is what the store gives back, not what was meant: every row with all its columns, in any order, and the
offsets of the rows with those of the footer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from audit.collected_offsets import collect
from audit.file_offsets import reading
from maintenance.cold_bronze.grouping import SmallFile
from platform_core.errors import PermanentError
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import Lake
from platform_core.lake.store import LakeStore
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges, united
from platform_kafka.records import TopicPartition

ROW_GROUP_ROWS = 20_000
"""As the sink has them; the rows are in the order of their offsets, so that who looks for one reads one of these."""


class NotEqualError(PermanentError):
    """The rows of a new file are not those of the files that it would replace."""


@dataclass(frozen=True)
class RowsContent:
    """What tells rows from others, in any order.

    Attributes:
        rows: How many.
        digest: The sum of a hash of each.
    """

    rows: int
    digest: int


def content_of(rows: pa.Table) -> RowsContent:
    """Return what tells these rows, in any order, from others: a row that is lost, doubled or changed shows."""
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in rows.column_names)
    with database() as connection:
        connection.register("_rows", rows)
        [found] = connection.execute(f"select count(*), coalesce(sum(hash({columns})), 0) from _rows").fetchall()
    return RowsContent(int(found[0]), int(found[1]))


def merge(lake: Lake, files: Sequence[SmallFile], name: str) -> None:
    """Put one file that has the rows of several, sorted by Kafka partition and offset, and read it back.

    Args:
        files: Of one topic and one set of columns, without an offset that two of them have.
        name: The new file's path below the lake's root.

    Raises:
        NotEqualError: the store gives back other rows, or a file holds other offsets than its footer names.
        UnreadableFileError: a file is damaged.
        FileNotFoundError: a file was removed meanwhile.
        TransientError: the store did not answer.
    """
    tables = []
    for file in files:
        rows, footer = _read(lake, file.name)
        if footer != file.footer or _offsets(rows) != _named(footer):
            raise NotEqualError(f"`{lake.uri(file.name)}` holds other offsets than its footer names.")
        tables.append(rows)
    rows = pa.concat_tables(tables)
    expected = content_of(rows)
    offsets = united(*(file.footer.offsets for file in files))
    erased = united(*(file.footer.erased for file in files))
    merged = replace(files[0].footer, offsets=offsets, erased=erased).named(name)
    LakeStore(lake).put(name, _encoded(rows, merged))
    del tables, rows
    _require_equal(lake, name, expected, merged)


def _encoded(rows: pa.Table, footer: BronzeFooter) -> pa.Buffer:
    data, schema = pa.BufferOutputStream(), rows.schema.with_metadata(footer.to_metadata())
    ordered = rows.sort_by([("_partition", "ascending"), ("_offset", "ascending")])
    with pq.ParquetWriter(data, schema, compression="snappy") as writer:
        writer.write_table(ordered.cast(schema), row_group_size=ROW_GROUP_ROWS)
    return data.getvalue()


def _require_equal(lake: Lake, name: str, expected: RowsContent, footer: BronzeFooter) -> None:
    rows, stored = _read(lake, name)
    content = content_of(rows)
    if content != expected or stored != footer or _offsets(rows) != _named(footer):
        raise NotEqualError(
            f"`{lake.uri(name)}` has {content.rows} rows that are not the {expected.rows} of the files that it would"
            " replace."
        )


def _read(lake: Lake, name: str) -> tuple[pa.Table, BronzeFooter | None]:
    with reading(lake, name), pq.ParquetFile(lake.path(name), filesystem=lake.filesystem) as file:
        rows = file.read()
    try:
        footer = BronzeFooter.from_metadata(rows.schema.metadata)
    except ValueError:
        footer = None
    return rows.replace_schema_metadata(None), footer


def _offsets(rows: pa.Table) -> dict[TopicPartition, OffsetRanges]:
    by_partition = rows.group_by(["_topic", "_partition"]).aggregate([("_offset", "list")]).to_pylist()
    return collect(
        ((row["_topic"], row["_partition"]), each)
        for row in by_partition
        for each in OffsetRanges.from_offsets(row["_offset_list"])
    )


def _named(footer: BronzeFooter | None) -> dict[TopicPartition, OffsetRanges]:
    return {tp: ranges for tp, ranges in footer.by_topic_partition.items() if ranges} if footer else {}
