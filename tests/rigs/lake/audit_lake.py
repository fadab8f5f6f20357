"""A small lake of orders, made without an engine: Bronze as the sink writes it, and what ought to come of it.

Silver, the quarantine and Gold are computed by a few lines of Python, so that a test can leave something out,
double it or change it. A history is random and the same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import REPOSITORY, Settings

FIRST_DAY = date(2026, 11, 20)
STATUSES = ("placed", "confirmed", "delivered", "cancelled")
MONEY = pa.decimal128(18, 2)
TIME = pa.timestamp("us", "UTC")
PLACES = pa.schema(
    [("_topic", pa.string()), ("_partition", pa.int32()), ("_offset", pa.int64()), ("_kafka_timestamp", TIME)]
)

Row = dict[str, Any]
Change_ = Callable[[list[Row]], list[Row]]


@dataclass(frozen=True)
class Record:
    """One version of an order at its place in Kafka."""

    order_id: int
    day: date
    updated_at: datetime
    status: str
    total: Decimal
    city: str
    restaurant_id: int
    partition: int
    offset: int

    @property
    def is_bad(self) -> bool:
        return self.status == "teleported"


@dataclass
class AuditLake:
    """Builds the lake, a date at a time.

    Attributes:
        settings: Of the lake.
        seed: Decides the history.
        skipped: Kafka partition and offset of what is no row: dead letters and markers.
        ends: The offset that each Kafka partition gives out next.
    """

    settings: Settings
    seed: int = 0
    records: dict[date, list[Record]] = field(default_factory=dict)
    copies: dict[date, list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lake = Lake(self.settings)
        self.catalog = load_catalog(REPOSITORY / "domains" / "domains.yaml")
        self.domain: Domain = self.catalog["orders"]
        self.meta = DeltaPartitionMeta(self.lake)
        self.random = random.Random(self.seed)
        self.skipped: set[tuple[int, int]] = set()
        self._offsets = [-1, -1, -1]
        self._files = 0

    @property
    def ends(self) -> dict[int, int]:
        return {partition: offset + 1 for partition, offset in enumerate(self._offsets)}

    def make(self, days: int = 2, orders: int = 30) -> AuditLake:
        """Write dates of Bronze, Silver, quarantine and Gold, each DONE."""
        for number in range(days):
            day = FIRST_DAY + timedelta(days=number)
            self.history(day, orders)
            files = self.write_bronze(day, [*self.records[day], *self.copies[day]])
            self.write_tables(day)
            self.done(day, files)
        return self

    def history(self, day: date, orders: int, first_id: int | None = None) -> list[Record]:
        """Invent the versions of a date's orders, some of them bad, and copies of some."""
        chance, made = self.random, []
        start = first_id if first_id is not None else 1000 * (day - FIRST_DAY).days
        for order_id in range(start, start + orders):
            moment = datetime.combine(day, time(8), UTC) + timedelta(seconds=order_id)
            for _ in range(chance.choice((1, 1, 2, 3))):
                made.append(self._record(order_id, day, moment, chance))
                # The same moment twice: the later offset wins.
                moment += timedelta(minutes=chance.choice((0, 1, 30)))
        chance.shuffle(made)
        placed = [self._placed(record) for record in made]
        self.records.setdefault(day, []).extend(placed)
        self.copies.setdefault(day, []).extend(chance.sample(placed, k=chance.randrange(min(5, len(placed)))))
        return placed

    def _record(self, order_id: int, day: date, moment: datetime, chance: random.Random) -> Record:
        status = "teleported" if chance.random() < 0.08 else chance.choice(STATUSES)
        total = Decimal(chance.randrange(500, 9000)) / 100
        city = ("Oslo", "Zürich 🏔", "Rome")[order_id % 3]
        return Record(order_id, day, moment, status, total, city, order_id % 5, order_id % 3, 0)

    def _placed(self, record: Record) -> Record:
        if self.random.random() < 0.2:
            self._offsets[record.partition] += 1
            self.skipped.add((record.partition, self._offsets[record.partition]))
        self._offsets[record.partition] += 1
        return replace(record, offset=self._offsets[record.partition])

    def write_bronze(self, day: date, records: Sequence[Record], files: int = 3) -> list[str]:
        """Write records as files in any order; return their names."""
        schema = bronze_schema(self.domain.contract)
        folder = self.lake.bronze_partition(self.domain, day)
        if self.lake.is_local:
            Path(self.lake.path(folder)).mkdir(parents=True, exist_ok=True)
        mixed = self.random.sample(list(records), k=len(records))
        names = []
        for number in range(files):
            self._files += 1
            rows = [self._bronze_row(record) for record in mixed[number::files]]
            name = f"{folder}/part-20261120T000000{self._files:06d}Z-00000000.parquet"
            table = pa.Table.from_pylist(rows, schema=schema)
            pq.write_table(table, self.lake.path(name), filesystem=self.lake.filesystem)
            names.append(name)
        return sorted(names)

    def _bronze_row(self, record: Record) -> Row:
        return {
            **self._values(record),
            "_key": str(record.order_id),
            "_schema_id": 1,
            "_ingested_at": record.updated_at,
        }

    def _values(self, record: Record) -> Row:
        return {
            "order_id": record.order_id,
            "status": record.status,
            "total": record.total,
            "city": record.city,
            "restaurant_id": record.restaurant_id,
            "currency": "EUR",
            "created_at": datetime.combine(record.day, time(8), UTC) + timedelta(seconds=record.order_id),
            "updated_at": record.updated_at,
            "deleted_at": None,
            "_topic": self.domain.topic.name,
            "_partition": record.partition,
            "_offset": record.offset,
            "_kafka_timestamp": record.updated_at,
        }

    def silver_rows(self, day: date) -> list[Row]:
        """Return what Silver must have: the latest record of each order, if it is good."""
        latest: dict[int, Record] = {}
        for record in self.records[day]:
            known = latest.get(record.order_id)
            if known is None or (known.updated_at, known.offset) < (record.updated_at, record.offset):
                latest[record.order_id] = record
        return [{**self._values(record), "order_date": day} for record in latest.values() if not record.is_bad]

    def quarantine_rows(self, day: date) -> list[Row]:
        """Return the bad records, each once."""
        return [
            {
                "rule": "known_status",
                "reason": "known_status: no such status",
                "topic": self.domain.topic.name,
                "partition": record.partition,
                "offset": record.offset,
                "kafka_timestamp": record.updated_at,
                "record_hash": f"{record.partition}:{record.offset}",
                "record": f'{{"order_id": {record.order_id}}}',
                "order_date": day,
            }
            for record in self.records[day]
            if record.is_bad
        ]

    def gold_rows(self, day: date, table: str, silver: Iterable[Row] | None = None) -> list[Row]:
        """Return a Gold table's groups over Silver."""
        by = self.domain.gold.tables[table][1:]
        groups: dict[Any, Row] = {}
        for row in self.silver_rows(day) if silver is None else silver:
            key = {name: row[name] for name in by}
            group = groups.setdefault(
                tuple(key.values()), {**key, "order_date": day, "orders": 0, "net_revenue": Decimal("0.00")}
            )
            group["orders"] += 1
            group["net_revenue"] += row["total"] if row["status"] != "cancelled" else 0
        return list(groups.values())

    def write_tables(self, day: date) -> None:
        """Write Silver, the quarantine and Gold of a date as they must be."""
        self.write_silver(day)
        self.write_quarantine(day)
        for table in self.domain.gold.tables:
            self.write_gold(day, table)

    def write_silver(self, day: date, change: Change_ = lambda rows: rows) -> None:
        contract = bronze_schema(self.domain.contract)
        names = [name for name in self._values(_ANY) if not name.startswith("_")]
        fields = [contract.field(name) for name in names]
        schema = pa.schema([*fields, *PLACES, ("order_date", pa.date32())])
        self._write(self.lake.silver(self.domain), day, change(self.silver_rows(day)), schema)

    def write_quarantine(self, day: date, change: Change_ = lambda rows: rows) -> None:
        texts = [(name, pa.string()) for name in ("rule", "reason", "topic", "record_hash", "record")]
        places = [
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("kafka_timestamp", TIME),
            ("order_date", pa.date32()),
        ]
        rows = change(self.quarantine_rows(day))
        self._write(self.lake.quarantine(self.domain), day, rows, pa.schema([*texts, *places]))

    def write_gold(self, day: date, table: str, change: Change_ = lambda rows: rows) -> None:
        by = self.domain.gold.tables[table][1:]
        keys = [(name, pa.int64() if name == "restaurant_id" else pa.string()) for name in by]
        fields = [*keys, ("orders", pa.int64()), ("net_revenue", MONEY), ("order_date", pa.date32())]
        self._write(self.lake.gold(self.domain, table), day, change(self.gold_rows(day, table)), pa.schema(fields))

    def _write(self, name: str, day: date, rows: list[Row], schema: pa.Schema) -> None:
        uri = self.lake.uri(name)
        data = pa.Table.from_pylist(rows, schema=schema)
        options = self.lake.storage_options or None
        if self.lake.delta_or_none(name) is not None:
            write_deltalake(uri, data, mode="overwrite", predicate=f"order_date = '{day}'", storage_options=options)
        else:
            write_deltalake(uri, data, partition_by=["order_date"], storage_options=options)

    def done(self, day: date, files: Sequence[str]) -> None:
        """Bring a date to DONE with these files, from whatever it was."""
        row = self.meta.get(self.domain.name, day)
        pinned = {"source_files": tuple(sorted(files)), "file_hash": file_hash(files), "run_id": "run"}
        name = self.domain.name
        if row is None:
            before = [Change(name, day, State.UNDISCOVERED, Event.FILES_FOUND, set=pinned)]
            waits = State.PENDING
        else:
            before = [
                Change(name, day, State.DONE, Event.FILES_CHANGED),
                Change(name, day, State.LATE, Event.QUEUED, set=pinned),
            ]
            waits = State.REPROCESSING
        self.meta.apply(
            [
                *before,
                Change(name, day, waits, Event.RUN_STARTED, run_id="run", set=pinned),
                Change(name, day, State.IN_FLIGHT, Event.SUCCEEDED, run_id="run"),
            ]
        )


_ANY = Record(1, FIRST_DAY, datetime.combine(FIRST_DAY, time(), UTC), "placed", Decimal("1.00"), "Oslo", 1, 0, 0)
