"""Why a row of the source is not in Silver yet: not polled, not read by the sink, refused, or not processed.

What is behind is found by `source_to_silver`; what none of the layers between has is lost. The layers are asked in
the order in which a record passes them backwards, see docs/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from audit.dates import COMPARABLE, open_table
from audit.duckdb_tables import PLACE, fetch, load_bronze, load_delta, names
from audit.kafka_log import AuditLog
from audit.report import Reason
from platform_core.domain.catalog import Domain
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Partition
from platform_kafka.records import Message
from platform_kafka.topics import dlq_name
from platform_kafka.wire_format import unframe

if TYPE_CHECKING:
    from producers.postgres.fence import Position


@dataclass(frozen=True)
class SourceRow:
    """A row of the source in one version.

    Attributes:
        key: Its business key.
        version: What orders its versions.
    """

    key: tuple[Any, ...]
    version: Any

    def __str__(self) -> str:
        return " ".join(str(part) for part in self.key) + f" (version {self.version})"


class OnTheWay:
    """Looks for rows between the source and Silver.

    Args:
        lake: The lake.
        domain: The domain.
        position: The producer's watermark, read before anything else; without it nothing is explained.
        kafka: Opens Kafka; asked only for rows that are polled and not in Bronze.
    """

    def __init__(self, lake: Lake, domain: Domain, position: Position | None, kafka: Callable[[], AuditLog]) -> None:
        self._domain = domain
        self._lake = lake
        self._position = position
        self._kafka = kafka
        self._version = (domain.silver.order_by or domain.silver.primary_key)[0]

    def explain(
        self, connection: duckdb.DuckDBPyConnection, day: date, row: Partition | None, behind: Sequence[SourceRow]
    ) -> dict[SourceRow, Reason]:
        """Return why rows are behind; those that nothing explains are left out.

        Args:
            connection: For the tables of the date.

        Raises:
            TransientError: Kafka or the store did not answer.
        """
        reasons: dict[SourceRow, Reason] = {}
        if self._position is None:
            return reasons
        for each in behind:
            if isinstance(each.version, datetime) and not self._position.covers(each.key[0], each.version):
                reasons[each] = Reason.NOT_POLLED_YET
        wanted = [each for each in behind if each not in reasons]
        if not wanted:
            return reasons
        name, kafka = self._domain.topic.name, self._kafka()
        # Both are asked for before Bronze is listed: what was committed is there, what was not lies between them.
        topic = kafka.topic(name)
        bounds = topic.bounds if topic else {}
        committed = kafka.committed(name, list(bounds))
        waiting, refused, processed = self._in_bronze(connection, day, row)
        for each in wanted:
            if each in refused:
                reasons[each] = Reason.QUARANTINED
            elif each in waiting:
                reasons[each] = Reason.NOT_PROCESSED_YET
        wanted = [each for each in wanted if each not in reasons and each not in processed]
        if not wanted:
            return reasons
        unread = {p: (max(low, committed.get(p, low)), high) for p, (low, high) in bounds.items()}
        lag = kafka.between(name, {p: span for p, span in unread.items() if span[0] < span[1]})
        reasons |= dict.fromkeys(self._carried(lag, wanted), Reason.NOT_READ_YET)
        wanted = [each for each in wanted if each not in reasons]
        if wanted:
            reasons |= dict.fromkeys(self._carried(kafka.all_of(dlq_name(self._domain)), wanted), Reason.DEAD_LETTER)
        return reasons

    def _in_bronze(
        self, connection: duckdb.DuckDBPyConnection, day: date, row: Partition | None
    ) -> tuple[set[SourceRow], set[SourceRow], set[SourceRow]]:
        """Return the date's versions that wait for a run, that are in the quarantine, and that a run has taken in."""
        keys, domain = self._domain.silver.primary_key, self._domain
        taken = set(row.source_files) if row is not None and row.status in COMPARABLE else set()
        listed = [file.name for file in self._lake.list_date(domain, day)]
        places = {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64()}
        quarantine = open_table(self._lake, self._lake.quarantine(domain))
        load_delta(connection, "quarantine", quarantine, domain.partition_key, day, places)
        found: list[set[SourceRow]] = []
        refused: set[SourceRow] = set()
        for files in ([n for n in listed if n not in taken], [n for n in listed if n in taken]):
            load_bronze(connection, "bronze", self._lake, domain, files, [*keys, self._version])
            on = f'b."{PLACE[0]}" = q.topic and b."{PLACE[1]}" = q."partition" and b."{PLACE[2]}" = q."offset"'
            rows = fetch(
                connection,
                f'select {names(keys, "b")}, b."{self._version}", bool_or(q.topic is not null) from bronze b'
                f" left join quarantine q on {on} group by all",
            )
            found.append({SourceRow(each[: len(keys)], each[-2]) for each in rows})
            refused |= {SourceRow(each[: len(keys)], each[-2]) for each in rows if each[-1]}
        return found[0], refused, found[1]

    def _carried(self, messages: Iterable[Message], wanted: Sequence[SourceRow]) -> set[SourceRow]:
        """Return the rows that one of the messages carries; of one that cannot be read only the key is known."""
        by_key: dict[str, list[SourceRow]] = {}
        for each in wanted:
            by_key.setdefault(str(each.key[0]), []).append(each)
        carried: set[SourceRow] = set()
        for message in messages:
            for each in by_key.get((message.key() or b"").decode(errors="replace"), ()):
                if _version(message, self._version) in (None, each.version):
                    carried.add(each)
        return carried


def _version(message: Message, column: str) -> datetime | None:
    _, body = unframe(message.value() or b"")
    try:
        document = json.loads(body)
        return datetime.fromisoformat(document[column])
    except (ValueError, KeyError, TypeError):
        return None
