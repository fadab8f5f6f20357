"""Why a row of the source is not in Silver yet: not polled, not read by the sink, refused, or not processed.

What is behind is found by `source_to_silver`; what none of the layers between has is lost. The layers are asked in
the order in which a record passes them backwards, see docs/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from audit.dates import COMPARABLE
from audit.duckdb_tables import AS_IDENTITY, REFUSED_IDENTITY, fetch, load_bronze, load_delta, python_time, same
from audit.kafka_log import AuditLog
from audit.report import Reason
from platform_core.domain.bronze_schema import RECORD_IDENTITY
from platform_core.domain.catalog import Domain
from platform_core.domain.source import PolledTable
from platform_core.lake.bronze_compaction import UnreadableNoteError
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import PartitionMetaReader
from platform_kafka.formats.wire_format import unframe
from platform_kafka.records import Message
from platform_kafka.topics import dlq_name

if TYPE_CHECKING:
    import duckdb

    from producers.postgres.fence import Position


@dataclass(frozen=True)
class SourceRow:
    """A row of the source in one version.

    Attributes:
        key: Its business key.
        version: What orders its versions; None where it is a time that Python cannot have.
    """

    key: int
    version: datetime | None

    def __str__(self) -> str:
        return f"{self.key} (version {self.version})"


@dataclass(frozen=True)
class SourceAccess:
    """What the source is compared with.

    Attributes:
        dsn: The source database's URL.
        position: The producer's watermark, read before anything else; without it nothing is explained.
        kafka: Opens Kafka; asked only for rows that are polled and not in Bronze.
        partitions: What was processed.
    """

    dsn: str
    position: Position | None
    kafka: Callable[[], AuditLog]
    partitions: PartitionMetaReader


class OnTheWay:
    """Looks for rows between the source and Silver."""

    def __init__(self, lake: Lake, domain: Domain, access: SourceAccess) -> None:
        self._lake, self._domain, self._access = lake, domain, access
        assert isinstance(domain.source, PolledTable)
        self._key, self._version = domain.source.key, domain.source.version

    def explain(
        self,
        connection: duckdb.DuckDBPyConnection,
        day: date | None,
        behind: Sequence[SourceRow],
        moved: Sequence[SourceRow],
    ) -> dict[SourceRow, Reason]:
        """Return why rows are behind; those that nothing explains are left out.

        Args:
            connection: For the tables of the date.
            day: The date of the rows; None for any.
            moved: Rows that belong to another date now: only whether they were polled is asked.

        Raises:
            UnreadableNoteError: nobody knows which files of a date count, and a row that nothing else explains may be
                in them.
            TransientError: Kafka or the store did not answer.
        """
        position = self._access.position
        if position is None:
            return {}
        reasons = {
            row: Reason.NOT_POLLED_YET
            for row in (*behind, *moved)
            if row.version is not None and not position.covers(row.key, row.version)
        }
        left = [row for row in behind if row not in reasons]
        if not left:
            return reasons
        name, kafka = self._domain.topic.name, self._access.kafka()
        # Both are asked for before Bronze is listed: what was committed is there, what was not lies between them.
        topic = kafka.topic(name)
        bounds = topic.bounds if topic else {}
        committed = kafka.committed(name, list(bounds))
        since = [row.version.date() for row in left if row.version is not None]
        dates = [day] if day else self._lake.list_dates(self._domain)
        processed, unclear = set[SourceRow](), list[UnreadableNoteError]()
        for each in dates:
            if day is None and each < min(since, default=each):
                continue
            try:
                in_bronze = self._in_bronze(connection, each, left)
            except UnreadableNoteError as error:
                unclear.append(error)
                continue
            for row, is_refused, is_processed in in_bronze:
                if is_refused:
                    reasons[row] = Reason.QUARANTINED
                elif is_processed:
                    processed.add(row)
                else:
                    reasons.setdefault(row, Reason.NOT_PROCESSED_YET)
        left = [row for row in left if row not in reasons and row not in processed]
        if not left:
            return reasons
        unread = {p: (max(low, committed.get(p, low)), high) for p, (low, high) in bounds.items()}
        lag = kafka.between(name, {p: span for p, span in unread.items() if span[0] < span[1]})
        reasons |= dict.fromkeys(self._carried(lag, left), Reason.NOT_READ_YET)
        left = [row for row in left if row not in reasons]
        if left:
            reasons |= dict.fromkeys(self._carried(kafka.all_of(dlq_name(self._domain)), left), Reason.DEAD_LETTER)
        if unclear and any(row not in reasons for row in left):
            raise unclear[0]  # such a row may be in that date's files
        return reasons

    def _in_bronze(
        self, connection: duckdb.DuckDBPyConnection, day: date, rows: Sequence[SourceRow]
    ) -> list[tuple[SourceRow, bool, bool]]:
        """Return which of the rows the date's files have; whether they are in the quarantine, and in a run's files."""
        domain = self._domain
        partition = self._access.partitions.get(domain.name, day)
        processed = partition.source_files if partition is not None and partition.status in COMPARABLE else ()
        listed = self._lake.list_date(domain, day)
        quarantine = self._lake.delta_or_none(self._lake.quarantine(domain))
        load_delta(connection, "quarantine", self._lake, quarantine, domain.partition_key, day, REFUSED_IDENTITY)
        keys = pa.table({"key": [row.key for row in rows]})
        version, found = python_time(f'b."{self._version}"'), []
        for is_processed in (False, True):
            files = [file for file in listed if (file.name in processed) is is_processed]
            load_bronze(connection, "bronze", self._lake, domain, files, [self._key, self._version, *RECORD_IDENTITY])
            connection.register("behind", keys)
            rows_of_files = fetch(
                connection,
                f'select b."{self._key}", {version}, bool_or(q._topic is not null)'
                f' from bronze b semi join behind on b."{self._key}" = behind.key left join'
                f" (select {AS_IDENTITY} from quarantine) q on {same(RECORD_IDENTITY, 'b', 'q')} group by all",
            )
            connection.unregister("behind")
            found += [(SourceRow(key, at), refused, is_processed) for key, at, refused in rows_of_files]
        return [each for each in found if each[0] in set(rows)]

    def _carried(self, messages: Iterable[Message], rows: Sequence[SourceRow]) -> set[SourceRow]:
        """Return the rows that one of the messages carries; of one that cannot be read only the key is known."""
        by_key: dict[str, list[SourceRow]] = {}
        for each in rows:
            by_key.setdefault(str(each.key), []).append(each)
        carried: set[SourceRow] = set()
        for message in messages:
            for each in by_key.get((message.key() or b"").decode(errors="replace"), ()):
                if self._version_of(message) in (None, each.version):
                    carried.add(each)
        return carried

    def _version_of(self, message: Message) -> datetime | None:
        _, body = unframe(message.value() or b"")
        try:
            return datetime.fromisoformat(json.loads(body)[self._version])
        except (ValueError, KeyError, TypeError):
            return None
