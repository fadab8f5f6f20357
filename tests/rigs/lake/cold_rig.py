"""One cold date of orders in many files, as the sink writes them, and a clock a year later."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from maintenance.cold_bronze.dates import ColdDates, compact_cold_dates
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.plan import TickPlan, plan
from platform_core.settings import Settings
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.offset_ranges import OffsetRanges
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake

REPLACED = 13
FILES = REPLACED + 1
"""The last has records that were delivered again: a file of Bronze has no offset twice, so it stays by itself."""


def with_footer(lake: Lake, domain: Domain, name: str) -> None:
    """Write a file again as the sink would have."""
    table = pq.read_table(lake.path(name), partitioning=None, filesystem=lake.filesystem)
    by_partition = table.group_by("_partition").aggregate([("_offset", "list")]).to_pylist()
    offsets = {row["_partition"]: OffsetRanges.from_offsets(row["_offset_list"]) for row in by_partition}
    footer = BronzeFooter(domain.name, domain.topic.name, offsets).named(name)
    rows = table.replace_schema_metadata(footer.to_metadata())
    pq.write_table(rows, lake.path(name), filesystem=lake.filesystem)


class ColdRig:
    """The date, DONE.

    Args:
        settings: Of the lake.
        make: Whether to write it; otherwise it is there.
    """

    def __init__(self, settings: Settings, *, make: bool) -> None:
        self.made = AuditLake(settings, seed=3)
        self.lake = self.made.lake
        self.clock = FakeClock(datetime.now(UTC))
        asked = self.made.domain.bronze.model_copy(update={"compact_after_days": 1})
        self.domain = self.made.domain.model_copy(update={"bronze": asked})
        self.meta = DeltaPartitionMeta(self.lake, self.clock)
        if make:
            self.made.history(FIRST_DAY, 30)
            files = self.made.write_bronze(FIRST_DAY, self.made.records[FIRST_DAY], REPLACED)
            files += self.made.write_bronze(FIRST_DAY, self.made.copies[FIRST_DAY], 1)
            for name in files:
                with_footer(self.lake, self.domain, name)
            self.made.write_tables(FIRST_DAY)
            self.made.done(FIRST_DAY, files)

    def turn(self, **hours: float) -> ColdDates | None:
        """A night of maintenance, some hours later."""
        self.clock.advance(**hours)
        return compact_cold_dates(self.lake, self.domain, self.meta, self.clock)

    @property
    def names(self) -> list[str]:
        return [file.name for file in self.lake.list_date(self.domain, FIRST_DAY)]

    @property
    def on_disk(self) -> int:
        return len(self.lake.list_folder(self.domain, FIRST_DAY)[0])

    def rows(self) -> pa.Table:
        """What a reader finds, in the order of offsets."""
        tables = [
            pq.read_table(self.lake.path(name), partitioning=None, filesystem=self.lake.filesystem)
            for name in self.names
        ]
        order = [("_partition", "ascending"), ("_offset", "ascending")]
        return pa.concat_tables(tables).replace_schema_metadata(None).sort_by(order)

    def decide(self) -> TickPlan:
        """What discovery makes of the date."""
        listed = {FIRST_DAY: self.lake.list_date(self.domain, FIRST_DAY)}
        row = self.meta.get("orders", FIRST_DAY)
        pinned = row.source_files if row else ()
        rows, now = self.meta.rows("orders"), self.clock.now() + timedelta(hours=1)
        return plan(self.domain, listed, rows, now, self.made.settings, lambda _: False, pinned=lambda _: pinned)

    def late_file(self) -> str:
        """The sink writes what came a year late."""
        self.made.history(FIRST_DAY, 3, first_id=500)
        [name] = self.made.write_bronze(FIRST_DAY, self.made.records[FIRST_DAY][-3:], 1)
        with_footer(self.lake, self.domain, name)
        return name

    def copy(self, to: Path) -> ColdRig:
        """Return the same in another folder."""
        shutil.copytree(self.lake.root, to)
        copied = ColdRig(Settings(lake_uri=str(to)), make=False)
        copied.made.records, copied.made.copies = dict(self.made.records), dict(self.made.copies)
        copied.made._files, copied.made._offsets = 500, [9_000] * 3
        return copied
