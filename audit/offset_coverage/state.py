"""What the watch over offsets remembers between two looks, as one JSON object in the lake.

It stays small because ranges merge: a healthy partition is one range. What is compared with what belongs to
`audit.offset_coverage.coverage`; a state that cannot be read is as good as none, and the ledger is then read from its
beginning.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from platform_core.errors import TransientError
from platform_core.lake.lake import Lake
from platform_kafka.offset_ranges import OffsetRanges
from sink.bronze.store import LakeStore

log = logging.getLogger(__name__)

VERSION = 1


@dataclass(frozen=True)
class Reader:
    """How far a topic of the platform (the ledger, a dead-letter topic) was read.

    Attributes:
        topic_id: Kafka's id of the topic, which is another one once it was made anew.
        position: Partition to the next offset to read.
    """

    topic_id: str = ""
    position: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Hole:
    """Committed offsets that nobody has accounted for yet; maybe their ledger record is late.

    Attributes:
        first: The first of them.
        last: The last of them, included.
        seen_at: When they were first seen, UTC.
        clean_at: The last look without them, UTC: they were committed after it. None if there was no look.
        unsearched: Bronze files modified after this were looked into already, UTC; None if none was.
    """

    first: int
    last: int
    seen_at: datetime
    clean_at: datetime | None
    unsearched: datetime | None = None


@dataclass(frozen=True)
class KnownGap:
    """Offsets that were verified to be missing; they keep these bounds until all of them are accounted for.

    Attributes:
        first: The first of them.
        last: The last of them, included.
        found_at: When they were verified, UTC.
        still_in_kafka: Whether the topic still has all of them.
    """

    first: int
    last: int
    found_at: datetime
    still_in_kafka: bool


@dataclass(frozen=True)
class Tracked:
    """One partition of a raw topic.

    Attributes:
        start: The first offset that must be accounted for.
        settled: Offsets in Bronze, in a dead letter, or without a record in Kafka.
        holes: What waits for its grace period or its verification, ascending.
        gaps: What is missing, ascending.
    """

    start: int
    settled: OffsetRanges = field(default_factory=OffsetRanges)
    holes: tuple[Hole, ...] = ()
    gaps: tuple[KnownGap, ...] = ()

    @property
    def end(self) -> int:
        """The offset behind the highest one that was seen."""
        last = self.settled.last
        return self.start if last is None else last + 1


@dataclass(frozen=True)
class TopicState:
    """One raw topic.

    Attributes:
        topic_id: Kafka's id of the topic.
        partitions: Partition to what is known of it.
    """

    topic_id: str
    partitions: dict[int, Tracked]


@dataclass(frozen=True)
class CoverageState:
    """Everything that is remembered.

    Attributes:
        looked_at: The last look that read the ledger and the dead letters to their ends, UTC.
        readers: Platform topic to how far it was read.
        topics: Raw topic to what is known of it.
        duplicates: Domain to the number of offsets that a second file holds again.
    """

    looked_at: datetime | None = None
    readers: dict[str, Reader] = field(default_factory=dict)
    topics: dict[str, TopicState] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)

    def with_reader(self, topic: str, reader: Reader) -> CoverageState:
        """Return the state after a platform topic was read further."""
        return replace(self, readers={**self.readers, topic: reader})

    def to_json(self) -> str:
        """Return the state as it is stored."""
        return json.dumps(
            {
                "version": VERSION,
                "looked_at": _text(self.looked_at),
                "readers": {n: {"topic_id": r.topic_id, "position": r.position} for n, r in self.readers.items()},
                "topics": {
                    name: {
                        "topic_id": topic.topic_id,
                        "partitions": {p: _tracked_json(tracked) for p, tracked in topic.partitions.items()},
                    }
                    for name, topic in self.topics.items()
                },
                "duplicates": self.duplicates,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> CoverageState:
        """Return what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            stored = json.loads(text)
            if stored["version"] != VERSION:
                raise ValueError(f"version {stored['version']}")
            return cls(
                _time(stored["looked_at"]),
                {n: Reader(r["topic_id"], _by_partition(r["position"])) for n, r in stored["readers"].items()},
                {
                    name: TopicState(
                        topic["topic_id"],
                        {int(p): _tracked(tracked) for p, tracked in topic["partitions"].items()},
                    )
                    for name, topic in stored["topics"].items()
                },
                {str(name): int(count) for name, count in stored["duplicates"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


class StateFile:
    """The state's place in the lake; writing it replaces the whole object at once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._store = LakeStore(lake)

    def load(self) -> CoverageState:
        """Return what was stored last, or an empty state.

        Raises:
            TransientError: the store did not answer.
        """
        path = self._lake.path(self._lake.offset_coverage)
        try:
            if self._lake.filesystem.get_file_info(path).type is not pafs.FileType.File:
                return CoverageState()
            with self._lake.filesystem.open_input_stream(path, compression=None) as stream:
                text = stream.read().decode(errors="replace")
        except OSError as error:
            raise TransientError(
                f"Reading `{self._lake.uri(self._lake.offset_coverage)}` failed: {error}. The next look tries again."
            ) from error
        try:
            return CoverageState.from_json(text)
        except ValueError as error:
            log.warning("offset_coverage_unreadable path=%s error=%s", self._lake.offset_coverage, error)
            return CoverageState()

    def save(self, state: CoverageState) -> None:
        """Store a state.

        Raises:
            TransientError: the store did not take it.
        """
        self._store.put(self._lake.offset_coverage, pa.py_buffer(state.to_json().encode()))


def _tracked_json(tracked: Tracked) -> dict[str, Any]:
    return {
        "start": tracked.start,
        "settled": tracked.settled.to_json(),
        "holes": [[h.first, h.last, *map(_text, (h.seen_at, h.clean_at, h.unsearched))] for h in tracked.holes],
        "gaps": [[g.first, g.last, _text(g.found_at), g.still_in_kafka] for g in tracked.gaps],
    }


def _tracked(stored: dict[str, Any]) -> Tracked:
    return Tracked(
        int(stored["start"]),
        OffsetRanges.from_json(stored["settled"]),
        tuple(
            Hole(int(first), int(last), datetime.fromisoformat(seen), _time(clean), _time(unsearched))
            for first, last, seen, clean, unsearched in stored["holes"]
        ),
        tuple(
            KnownGap(int(first), int(last), datetime.fromisoformat(found), bool(still))
            for first, last, found, still in stored["gaps"]
        ),
    )


def _by_partition(stored: dict[str, Any]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in stored.items()}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
