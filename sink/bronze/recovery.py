"""What a process that was killed between a PUT and its commit has left in Bronze, recognised record by record.

The names come from the journal, the truth from the files: a record is taken for stored only if a file holds its
partition and offset with the same Kafka timestamp and key, so that a topic that was recreated is read in full. What
is recognised is not written again; docs/architecture.md says what remains possible.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.errors import TransientError
from platform_core.lake.store import Store
from platform_kafka.formats.bronze_footer import BronzeFooter
from platform_kafka.formats.ledger_record import LedgerRecord
from platform_kafka.records import Message, TopicPartition, kafka_timestamp
from sink.bronze.journal import Journal, JournalEntry
from sink.bronze.ledger import Ledger
from sink.consuming.broker import Broker
from sink.records.decoding import key_text
from sink.watching.metrics import SinkMetrics

log = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(hours=24)
"""Files that an entry names and that do not exist may still be on their way from a live process in an outage."""

# Asking the coordinator for what others have committed, while files of a killed process wait to be announced.
ADOPTION_SECONDS = 1.0

COLUMNS = ["_partition", "_offset", "_kafka_timestamp", "_key", "_ingested_at"]

Identity = tuple[int | None, str]
"""A record's Kafka timestamp in microseconds since 1970, and its key as Bronze writes it."""


@dataclass(frozen=True)
class _StoredFile:
    record: LedgerRecord
    identities: Mapping[TopicPartition, Mapping[int, Identity]]


@dataclass
class _Adopted:
    """An entry of another process whose files are announced when their offsets are committed."""

    entry: JournalEntry
    files: list[_StoredFile] = field(default_factory=list)

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """The offsets that must be committed before the entry is done with."""
        ends: dict[TopicPartition, int] = {}
        for stored in self.files:
            for tp, end in stored.record.ends.items():
                ends[tp] = max(end, ends.get(tp, 0))
        return ends

    def is_committed(self, committed: Mapping[TopicPartition, int]) -> bool:
        """Tell whether all these offsets are committed."""
        return all(committed.get(tp, -1) >= end for tp, end in self.ends.items())


class Recovery:
    """Reads the journal when partitions are assigned, and answers whether a record is stored already.

    Args:
        store: Holds the files.
        topics: The consumed topics.
        metrics: Counts the recognised records.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        topics: Collection[str],
        metrics: SinkMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._store = store
        self._topics = frozenset(topics)
        self._metrics = metrics
        self._now = now
        self._unlooked: set[TopicPartition] = set()
        self._stored: dict[TopicPartition, dict[int, Identity]] = {}
        self._adopted: list[_Adopted] = []
        self._unannounced: deque[tuple[JournalEntry, LedgerRecord]] = deque()
        self._next_look_at_commits = 0.0

    @property
    def pending(self) -> bool:
        """Whether it is not known yet what Bronze has of some partitions; they may not be read before."""
        return bool(self._unlooked)

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Take over partitions, see `look`."""
        self._unlooked.update(partitions)

    def look(self) -> None:
        """Learn what the newly assigned partitions have in Bronze beyond what is committed.

        Raises:
            TransientError: the store did not answer; call again before the partitions are read.
        """
        known = {adopted.entry.name for adopted in self._adopted}
        for entry in self._journal.others():
            if entry.name in known:
                continue
            files = [stored for name in entry.files if (stored := self._open(name)) is not None]
            if not any(topic in self._topics for stored in files for topic, _ in stored.identities):
                if not files and self._now() - entry.written_at > ABANDONED_AFTER:
                    self._journal.remove(entry.name)
                continue
            self._adopted.append(_Adopted(entry, files))
        for adopted in self._adopted:
            for stored in adopted.files:
                for tp in self._unlooked & stored.identities.keys():
                    self._stored.setdefault(tp, {}).update(stored.identities[tp])
        self._unlooked.clear()

    def unknown(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages whose records Bronze does not have already."""
        if not any(self._stored.values()):
            return messages
        return [message for message in messages if not self.holds(message)]

    def holds(self, message: Message) -> bool:
        """Tell whether Bronze has this very record already."""
        # Each is taken out when it is met: nothing is searched for the records that come after them.
        stored = self._stored.get((message.topic(), message.partition()))
        if not stored or stored.pop(message.offset(), None) != _identity(message):
            return False
        self._metrics.recognised.inc()
        return True

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that this process no longer owns."""
        self._unlooked.difference_update(partitions)
        for tp in partitions:
            self._stored.pop(tp, None)

    def announce(self, ledger: Ledger, broker: Broker, *, now: bool = False) -> None:
        """Announce the recognised files whose offsets are committed by now, by this process or by others.

        Args:
            now: Whether to ask for them although they were asked for a moment ago: nobody will ask later.

        Raises:
            TransientError: the queue to Kafka is full; the next call goes on here.
        """
        if now:
            self._next_look_at_commits = 0.0
        self._take_committed(broker)
        while self._unannounced:
            entry, record = self._unannounced[0]
            last = len(self._unannounced) == 1 or self._unannounced[1][0] is not entry
            ledger.add(record, partial(self._journal.remove, entry.name) if last else _nothing)
            self._unannounced.popleft()

    def _take_committed(self, broker: Broker) -> None:
        if not self._adopted or time.monotonic() < self._next_look_at_commits:
            return
        self._next_look_at_commits = time.monotonic() + ADOPTION_SECONDS
        try:
            committed = broker.committed({tp for adopted in self._adopted for tp in adopted.ends})
        except TransientError as error:
            log.warning("committed_unknown error=%s", error)
            return
        done = [adopted for adopted in self._adopted if adopted.is_committed(committed)]
        self._adopted = [adopted for adopted in self._adopted if adopted not in done]
        for adopted in done:
            log.info("recovered files=%d entry=%s", len(adopted.files), adopted.entry.name)
            self._unannounced.extend((adopted.entry, stored.record) for stored in adopted.files)

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
            record = LedgerRecord(
                domain=footer.domain,
                topic=footer.topic,
                day=_day(name),
                file=name,
                rows=table.num_rows,
                size=data.size,
                offsets=footer.offsets,
                written_at=table["_ingested_at"][0].as_py(),
                recovered=True,
            )
            return _StoredFile(record, _identities(footer.topic, table))
        except (KeyError, ValueError, IndexError, pa.ArrowException) as error:
            # Nobody can read it, so its records are written again.
            log.warning("journal_file_unreadable name=%s error=%r", name, error)
            return None


def _identity(message: Message) -> Identity:
    return kafka_timestamp(message), key_text(message.key() or b"")


def _identities(topic: str, table: pa.Table) -> dict[TopicPartition, dict[int, Identity]]:
    timestamps = table["_kafka_timestamp"].cast(pa.int64())
    columns = (table["_partition"], table["_offset"], timestamps, table["_key"])
    identities: dict[TopicPartition, dict[int, Identity]] = {}
    for partition, offset, timestamp, key in zip(*(column.to_pylist() for column in columns), strict=True):
        identities.setdefault((topic, partition), {})[offset] = (timestamp, key)
    return identities


def _nothing() -> None:
    return None


def _day(name: str) -> date:
    return date.fromisoformat(name.split("/")[-2].partition("=")[2])
