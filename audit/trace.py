"""One record at every stage: what each layer has of it, and where it was looked for in vain.

Only searching belongs here; printing belongs to `pdp trace`, comparing to the audit's stages. A record is found by its
business key or by its topic, partition and offset; the stages are those of docs/architecture.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from audit.addresses import without_addresses
from audit.dates import unavailable, why
from audit.file_offsets import unreadable_files
from audit.kafka_log import AuditLog
from audit.report import MAX_NAMED
from audit.source_database import read_row, source_time
from audit.warehouse_tables import WarehouseTables
from platform_core.domain.bronze_schema import bronze_schema
from platform_core.domain.catalog import Catalog, Domain
from platform_core.domain.contract import ColumnType
from platform_core.errors import PermanentError
from platform_core.lake.bronze_compaction import UnreadableNoteError
from platform_core.lake.delta_rows import read_date, rows_of
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import PartitionMetaReader
from platform_core.settings import Settings
from platform_kafka.formats.dead_letter_headers import DeadLetterHeaders
from platform_kafka.formats.wire_format import unframe
from platform_kafka.records import Message, headers_of
from platform_kafka.topics import dlq_name
from warehouse.connection import connect

ORIGIN = re.compile(r"(?P<topic>[A-Za-z0-9._-]+):(?P<partition>\d{1,30}):(?P<offset>\d{1,30})")
LAST_PARTITION, LAST_OFFSET = 2**31 - 1, 2**63 - 1
MAX_VALUE = 4_000
"""Characters of a Kafka value that are kept: a whole order has 1,000, a restaurant's menu up to 4,000."""

Row = dict[str, Any]
Origin = tuple[int, int]


@dataclass
class LayerRows:
    """What one layer has of the record.

    Attributes:
        looked_in: Where it was looked for.
        rows: What is there.
        not_looked: Why it could not be looked at, empty when it was.
    """

    layer: str
    looked_in: str
    rows: list[Row] = field(default_factory=list)
    not_looked: str = ""


@dataclass
class Trace:
    """A record of one domain at every layer, in the order of its way."""

    domain: str
    subject: str
    layers: list[LayerRows]

    @property
    def is_found(self) -> bool:
        """Whether any layer but the source has it."""
        return any(found.rows for found in self.layers if found.layer != "partition")

    def to_json(self) -> dict[str, Any]:
        """Return the trace as JSON values."""
        return {
            "domain": self.domain,
            "subject": self.subject,
            "found": self.is_found,
            "layers": [asdict(each) for each in self.layers],
        }


def trace(
    settings: Settings,
    catalog: Catalog,
    lake: Lake,
    partitions: PartitionMetaReader,
    subject: str,
    *,
    domain: str | None = None,
    day: date | None = None,
) -> list[Trace]:
    """Look for a record at every stage; nothing is changed anywhere.

    Args:
        subject: A business key, or `TOPIC:PARTITION:OFFSET`.
        domain: Only this domain; by default the topic's, or every domain whose key may look like that.
        day: Only this date; by default that of the source row, or every date of Bronze.

    Returns:
        One trace a domain.

    Raises:
        PermanentError: no domain has such a topic or key.
    """
    match = ORIGIN.fullmatch(subject)
    origin = (int(match["partition"]), int(match["offset"])) if match else None
    if origin and (origin[0] > LAST_PARTITION or origin[1] > LAST_OFFSET):
        raise PermanentError(
            f"`{subject}` is no offset of Kafka: partitions end at {LAST_PARTITION}, offsets at {LAST_OFFSET}."
        )
    chosen = [
        each
        for each in catalog
        if domain in (None, each.name)
        and (each.topic.name == match["topic"] if match else _value(each, subject) is not None)
    ]
    if not chosen:
        raise PermanentError(
            f"No domain{f' called `{domain}`' if domain else ''} has a record `{subject}`: give a business key, such as"
            " an order's number, or `TOPIC:PARTITION:OFFSET` of a raw topic."
        )
    with closing(AuditLog(settings)) as kafka:
        return [
            _Search(
                *(settings, lake, partitions, kafka, each, subject),
                key=None if origin else _value(each, subject),
                origins={origin} if origin else set(),
                days={day} if day else set(),
            ).run()
            for each in chosen
        ]


@dataclass
class _Search:
    """The search for one record in one domain, and what the layers have said of it so far."""

    settings: Settings
    lake: Lake
    partitions: PartitionMetaReader
    kafka: AuditLog
    domain: Domain
    subject: str
    key: int | str | None
    origins: set[Origin]
    days: set[date]
    sent_at: dict[Origin, set[datetime | None]] = field(default_factory=dict)
    silver_rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> Trace:
        """Look into every layer; the offsets come from Bronze, so Bronze is read before Kafka."""
        lake, domain = self.lake, self.domain
        table = f"table `{domain.source_table}` of the source database" if domain.source_table else "no source table"
        looks: dict[str, tuple[str, Callable[[], list[Row]]]] = {
            "source": (table, self._source),
            "kafka": (f"topic `{domain.topic.name}` at the offsets that are known", self._records),
            "dead letters": (f"topic `{dlq_name(domain)}`", self._dead_letters),
            "bronze": (f"`{lake.uri(lake.bronze(domain))}`", self._bronze),
            "silver": (f"`{lake.uri(lake.silver(domain))}`", self._silver),
            "quarantine": (f"`{lake.uri(lake.quarantine(domain))}`", self._quarantine),
            "gold": ("the groups that the Silver row counts in", self._gold),
            "warehouse": (f"schema `{domain.warehouse_schema}`", self._warehouse),
            "partition": ("partition_meta", self._states),
        }
        # Bronze knows the key of an offset and the offsets of a key, the source the date of a key.
        first = ["bronze", "source"] if self.key is None else ["source", "bronze"]
        last = ["kafka", "gold", "warehouse", "partition"]
        order = [*first, *(layer for layer in looks if layer not in (*first, *last)), *last]
        found = {layer: self._looked(layer, *looks[layer]) for layer in order}
        return Trace(domain.name, self.subject, [found[layer] for layer in looks])

    def _looked(self, layer: str, looked_in: str, look: Callable[[], list[Row]]) -> LayerRows:
        try:
            self.left_out = {}
            rows = [without_addresses(row) for row in look()]
            named = [f"`{name}` was left out: {reason}" for name, reason in self.left_out.items()]
            return LayerRows(layer, looked_in, rows, "; ".join(named[:MAX_NAMED]))
        except unavailable() as error:
            return LayerRows(layer, looked_in, not_looked=why(error))

    def _source(self) -> list[Row]:
        table = self.domain.source_table
        if self.key is None or table is None:
            return []
        dsn = self.settings.postgres_dsn.get_secret_value()
        row = read_row(dsn, table, self.domain.silver.primary_key[0], self.key)
        if row is None:
            return []
        moment = source_time(row.get(self.domain.bronze.timestamp_col))
        if not self.days and moment is not None:
            self.days = {moment.astimezone(UTC).date()}
        return [row]

    def _bronze(self) -> list[Row]:
        rows: list[Row] = []
        days = sorted(self.days) or self.lake.list_dates(self.domain)
        for day in days:
            try:
                rows += self._bronze_of(day)
            except UnreadableNoteError as error:  # the record may be in another date's files
                self.left_out[self.lake.bronze_partition(self.domain, day)] = error.message
            if rows and self.origins and self.key is None:
                break  # an offset has one date
        self.days |= {row["date"] for row in rows}
        for row in rows:
            self.sent_at.setdefault((row["_partition"], row["_offset"]), set()).add(row["_kafka_timestamp"])
        self.origins |= self.sent_at.keys()
        if self.key is None and rows:
            self.key = rows[0].get(self.domain.silver.primary_key[0])
        return rows

    def _bronze_of(self, day: date) -> list[Row]:
        names = [file.name for file in self.lake.list_date(self.domain, day)]
        schema = bronze_schema(self.domain.contract)
        if self.key is not None:
            name = self.domain.silver.primary_key[0]
            condition = pc.field(name) == pa.scalar(self.key, schema.field(name).type)
        else:
            condition = _any_of(self.origins, "_partition", "_offset")

        def read(names: list[str]) -> pa.Table:
            if not names:
                return schema.empty_table()
            paths = [self.lake.path(name) for name in names]
            dataset = ds.dataset(paths, schema=schema, format="parquet", filesystem=self.lake.filesystem)
            return dataset.to_table(columns=[*schema.names, "__filename"], filter=condition)

        try:
            table = read(names)
        except (OSError, pa.ArrowException):
            unreadable = unreadable_files(self.lake, names, schema)
            if not unreadable:
                raise
            self.left_out |= unreadable
            table = read([name for name in names if name not in unreadable])
        return [
            {"date": day, "file": str(row.pop("__filename")).rpartition("/")[2], **row} for row in table.to_pylist()
        ]

    def _dead_letters(self) -> list[Row]:
        rows = []
        for message in self.kafka.all_of(dlq_name(self.domain)):
            origin = DeadLetterHeaders.parse(headers_of(message)).source
            of_origin = origin is not None and origin[0] == self.domain.topic.name and origin[1:] in self.origins
            of_key = self.key is not None and (message.key() or b"").decode(errors="replace") == str(self.key)
            if of_origin or of_key:
                rows.append({"at": origin, **_message(message)})
                if origin is not None:
                    self.origins.add((origin[1], origin[2]))
        return rows

    def _records(self) -> list[Row]:
        rows = []
        topic = self.kafka.topic(self.domain.topic.name)
        for partition, offset in sorted(self.origins):
            low, high = topic.bounds.get(partition, (0, 0)) if topic else (0, 0)
            if low <= offset < high:
                for message in self.kafka.between(self.domain.topic.name, {partition: (offset, offset + 1)}):
                    if message.offset() == offset:
                        rows.append({"partition": partition, **_message(message)})
        return rows

    def _silver(self) -> list[Row]:
        condition = _any_of(self.origins, "_partition", "_offset")
        if self.key is not None:
            condition = pc.field(self.domain.silver.primary_key[0]) == self.key
        if condition is not None:
            self.silver_rows = list(self._delta(self.lake.silver(self.domain), condition))
        return self.silver_rows

    def _quarantine(self) -> list[Row]:
        if not self.origins:
            return []
        rows = self._delta(self.lake.quarantine(self.domain), _any_of(self.origins, "partition", "offset"))
        return [row for row in rows if row["topic"] == self.domain.topic.name and self._is_of_record(row)]

    def _is_of_record(self, refused: Row) -> bool:
        """Return whether the row is what Bronze has at its place, if anything: a recreated topic has others there."""
        sent_at = self.sent_at.get((refused["partition"], refused["offset"]))
        return sent_at is None or refused["kafka_timestamp"] in sent_at

    def _delta(self, name: str, condition: pc.Expression) -> Iterator[Row]:
        table = self.lake.delta_or_none(name)
        if table is None:
            return
        if self.days:
            condition = pc.field(self.domain.partition_key).isin(sorted(self.days)) & condition
        yield from rows_of(self.lake, table).to_table(filter=condition).to_pylist()

    def _groups(self) -> Iterator[tuple[str, Row]]:
        """Yield the tables and the part of their grain that the Silver rows have."""
        for row in self.silver_rows:
            for table, keys in self.domain.gold.tables.items():
                yield table, {key: row[key] for key in keys if key in row}

    def _gold(self) -> list[Row]:
        rows = []
        for table, group in self._groups():
            delta = self.lake.delta_or_none(self.lake.gold(self.domain, table))
            if delta is not None:
                # Not a filter of the scan: a merge leaves files with string_view columns, which it cannot compare.
                of_date = read_date(
                    self.lake, delta, self.domain.partition_key, group[self.domain.partition_key]
                ).to_pylist()
                known = {key: value for key, value in group.items() if value is not None}
                rows += [{"table": table, **row} for row in of_date if known.items() <= row.items()]
        return rows

    def _warehouse(self) -> list[Row]:
        groups = list(self._groups())
        if not groups:
            return []
        rows = []
        with connect(self.settings, "pdp:trace") as connection:
            tables = WarehouseTables(connection, self.settings.snowflake_database, self.domain)
            for table, group in groups:
                given = {key: value for key, value in group.items() if value is not None}
                rows += [{"table": table, **row} for row in tables.group(table, given)]
        return rows

    def _states(self) -> list[Row]:
        rows = [self.partitions.get(self.domain.name, day) for day in sorted(self.days)]
        return [
            {
                "date": row.partition_date,
                "status": row.status.value,
                "run_id": row.run_id,
                "processed_at": row.processed_at,
                "files": len(row.source_files),
                "error": row.error_message,
            }
            for row in rows
            if row is not None
        ]


def _value(domain: Domain, text: str) -> int | str | None:
    """Return a key as the contract has it; None if it cannot be one."""
    column = domain.contract.by_name.get(domain.silver.primary_key[0])
    if column is not None and column.type is ColumnType.STRING:
        return text
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None


def _any_of(origins: set[Origin], partition: str, offset: str) -> pc.Expression:
    expression = None
    for one, other in sorted(origins):
        each = (pc.field(partition) == one) & (pc.field(offset) == other)
        expression = each if expression is None else expression | each
    return expression


def _message(message: Message) -> Row:
    schema_id, body = unframe(message.value() or b"")
    headers = {name: (text or b"").decode(errors="replace") for name, text in headers_of(message) or ()}
    kind, milliseconds = message.timestamp()
    return {
        "offset": message.offset(),
        "timestamp": datetime.fromtimestamp(milliseconds / 1000, UTC) if kind else None,
        "key": (message.key() or b"").decode(errors="replace"),
        "schema_id": schema_id,
        "value": without_addresses(body.decode(errors="replace"))[:MAX_VALUE],
        **headers,
    }
