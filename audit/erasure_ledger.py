"""The erasure ledger: which Bronze files and dead letters lost records of a person, by whom, and at which offsets.

It is what the audit believes when offsets are in no file any more. It never holds the identifier of who was erased.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
from deltalake import write_deltalake

from platform_core.lake.contended_table import ContendedTable
from platform_core.lake.lake import Lake
from platform_core.lake.lake_errors import answering
from platform_core.lake.row_schema import schema_of
from platform_kafka.offset_ranges import OffsetRanges, offsets_from_json, offsets_json, united


@dataclass(frozen=True)
class Erased:
    """A Bronze file, or a topic of dead letters, that lost records of one person.

    Attributes:
        erasure_id: The same for all files of one command.
        operator: Who ran it.
        kind: Of the subject, for example `user`.
        partition_date: The file's date; None of dead letters.
        file: The file that is gone, below the lake's root, or the topic of dead letters.
        replaced_by: The file with its other rows; None of dead letters.
        rows: How many records were erased.
        offsets: Their offsets in the raw topic by Kafka partition.
    """

    erasure_id: str
    at: datetime
    operator: str
    kind: str
    domain: str
    partition_date: date | None
    file: str
    replaced_by: str | None
    rows: int
    offsets: dict[int, OffsetRanges]


SCHEMA = schema_of(Erased, as_json={"offsets"})


class ErasureLedger:
    """Reads and writes the ledger's Delta table."""

    def __init__(self, lake: Lake) -> None:
        self._table = ContendedTable(lake, lake.erasures, SCHEMA)

    def record(self, erased: Sequence[Erased]) -> None:
        """Add what is about to go; what an attempt that was killed has noted stands twice and says the same.

        Raises:
            TransientError: the table could not be written.
        """
        rows = [{**vars(each), "offsets": json.dumps(offsets_json(each.offsets))} for each in erased]
        with answering(self._table.uri, "written"):
            write_deltalake(self._table.open_or_create(), pa.Table.from_pylist(rows, schema=SCHEMA), mode="append")

    def read(self, domain: str) -> list[Erased]:
        """Return what was erased of a domain."""
        rows = self._table.rows(("domain", "=", domain))
        return [Erased(**{**row, "offsets": offsets_from_json(json.loads(row["offsets"]))}) for row in rows]


def erased_offsets(erased: Iterable[Erased], in_footers: Mapping[int, OffsetRanges]) -> dict[int, OffsetRanges]:
    """Return the offsets of a domain that were erased, by Kafka partition.

    Args:
        erased: What the ledger has of the domain.
        in_footers: What the footers of its files name as erased: of rows, neither alone is believed.
    """
    nothing = OffsetRanges()
    return united(
        *(
            {
                partition: ranges if each.replaced_by is None else ranges & in_footers.get(partition, nothing)
                for partition, ranges in each.offsets.items()
            }
            for each in erased
        )
    )
