"""What a process that was killed between a PUT and its commit has left in Bronze, recognised record by record.

The names come from the journal, the truth from the files: a record is taken for stored only if a file holds its
partition and offset with the same Kafka timestamp and key, so that a topic that was made anew is read in full. What
is recognised is not written again; docs/architecture.md says what remains possible.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from platform_kafka.bronze_footer import BronzeFooter
from platform_kafka.records import Message, TopicPartition, kafka_timestamp
from sink.bronze.journal import Entry, Journal
from sink.bronze.store import Store
from sink.bronze.writer import WrittenFile
from sink.decoding import key_text

log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(hours=24)
"""Files that an entry names and that do not exist may still be on their way from a live process in an outage."""

COLUMNS = ["_partition", "_offset", "_kafka_timestamp", "_key", "_ingested_at"]

Identity = tuple[int | None, str]
"""A record's Kafka timestamp in microseconds since 1970, and its key as Bronze writes it."""


@dataclass(frozen=True)
class _StoredFile:
    file: WrittenFile
    records: Mapping[TopicPartition, Mapping[int, Identity]]

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """The offset after the last one of each Kafka partition."""
        return {where: max(offsets) + 1 for where, offsets in self.records.items()}


@dataclass
class _Adopted:
    """An entry of another process whose files are announced when their offsets are committed."""

    entry: Entry
    files: list[_StoredFile] = field(default_factory=list)

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """The offsets that must be committed before the entry is done with."""
        ends: dict[TopicPartition, int] = {}
        for stored in self.files:
            for where, end in stored.ends.items():
                ends[where] = max(end, ends.get(where, 0))
        return ends


class Recovery:
    """Reads the journal when partitions are assigned, and answers whether a record is stored already.

    Args:
        store: Holds the files.
        topics: The consumed topics.
    """

    def __init__(self, journal: Journal, store: Store, topics: Collection[str], now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._store = store
        self._topics = frozenset(topics)
        self._now = now
        self._stored: dict[TopicPartition, dict[int, Identity]] = {}
        self._adopted: list[_Adopted] = []
        self.recognised = 0

    def look(self, partitions: Iterable[TopicPartition]) -> None:
        """Learn what the newly assigned partitions have in Bronze beyond what is committed.

        Raises:
            TransientError: the store did not answer; call again before the partitions are read.
        """
        wanted = set(partitions)
        known = {adopted.entry.name for adopted in self._adopted}
        for entry in self._journal.others():
            if entry.name in known:
                continue
            files = [stored for name in entry.files if (stored := self._open(name)) is not None]
            if not any(where[0] in self._topics for stored in files for where in stored.records):
                if not files and self._now() - entry.written_at > ABANDONED_AFTER:
                    self._journal.remove(entry.name)
                continue
            self._adopted.append(_Adopted(entry, files))
        for adopted in self._adopted:
            for stored in adopted.files:
                for where in wanted & stored.records.keys():
                    self._stored.setdefault(where, {}).update(stored.records[where])

    def holds(self, message: Message) -> bool:
        """Tell whether Bronze has this very record already."""
        where = (message.topic(), message.partition())
        of_partition = self._stored.get(where)
        if of_partition is None:
            return False
        identity = of_partition.get(message.offset())
        if identity is None:
            if message.offset() > max(of_partition):
                del self._stored[where]
            return False
        if identity != (kafka_timestamp(message), key_text(message.key() or b"")):
            return False
        self.recognised += 1
        return True

    def give_up(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that this process no longer owns."""
        for where in partitions:
            self._stored.pop(where, None)

    @property
    def waiting(self) -> set[TopicPartition]:
        """The partitions whose committed offsets decide what may be announced."""
        return {where for adopted in self._adopted for where in adopted.ends}

    def finish(self, committed: Mapping[TopicPartition, int]) -> list[tuple[Entry, list[WrittenFile]]]:
        """Return the entries whose offsets are all committed, with the files to announce, and forget them.

        Args:
            committed: The group's committed offsets of the `waiting` partitions.
        """
        done = [
            adopted
            for adopted in self._adopted
            if all(committed.get(where, -1) >= end for where, end in adopted.ends.items())
        ]
        self._adopted = [adopted for adopted in self._adopted if adopted not in done]
        return [(adopted.entry, [stored.file for stored in adopted.files]) for adopted in done]

    def _open(self, name: str) -> _StoredFile | None:
        data = self._store.read(name)
        if data is None:
            return None
        try:
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                footer = BronzeFooter.from_metadata(file.schema_arrow.metadata)
                if footer is None:
                    raise ValueError("the file has no footer of the sink")
                table = file.read(COLUMNS)
            return _StoredFile(
                WrittenFile(
                    domain=footer.domain,
                    topic=footer.topic,
                    day=_day(name),
                    name=name,
                    rows=table.num_rows,
                    size=data.size,
                    offsets=footer.offsets,
                    written_at=table["_ingested_at"][0].as_py(),
                ),
                _records(footer.topic, table),
            )
        except (KeyError, ValueError, IndexError, pa.ArrowException) as error:
            # Nobody can read it, so its records are written again.
            log.warning("journal_file_unreadable name=%s error=%r", name, error)
            return None


def _records(topic: str, table: pa.Table) -> dict[TopicPartition, dict[int, Identity]]:
    timestamps = table["_kafka_timestamp"].cast(pa.int64())
    columns = (table["_partition"], table["_offset"], timestamps, table["_key"])
    records: dict[TopicPartition, dict[int, Identity]] = {}
    for partition, offset, timestamp, key in zip(*(column.to_pylist() for column in columns), strict=True):
        records.setdefault((topic, partition), {})[offset] = (timestamp, key)
    return records


def _day(name: str) -> date:
    return date.fromisoformat(name.split("/")[-2].partition("=")[2])
