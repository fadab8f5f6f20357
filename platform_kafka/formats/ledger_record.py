"""A record of the ledger: one Bronze file whose offsets were committed, on `processed-events`.

Only the record's form belongs here, see docs/architecture.md for its fields; `sink.ledger` writes one, and who reads
the ledger decides what a record means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from platform_kafka.offset_ranges import OffsetRanges, offsets_from_json, offsets_json
from platform_kafka.records import TopicPartition


@dataclass(frozen=True)
class LedgerRecord:
    """One Bronze file.

    Attributes:
        topic: Its raw topic.
        file: The file's path below the lake's root.
        size: Its bytes.
        offsets: Kafka partition to the offsets in the file.
        written_at: When the sink wrote it, UTC.
        recovered: Whether the file is another process's, which may have announced it too.
    """

    domain: str
    topic: str
    day: date
    file: str
    rows: int
    size: int
    offsets: Mapping[int, OffsetRanges]
    written_at: datetime
    recovered: bool = False

    @property
    def ends(self) -> dict[TopicPartition, int]:
        """The offset after the file's last one, of each topic and partition."""
        return {(self.topic, partition): (ranges.last or 0) + 1 for partition, ranges in self.offsets.items()}

    @property
    def key(self) -> bytes:
        """The record's Kafka key: records of one date keep their order."""
        return f"{self.domain}/{self.day.isoformat()}".encode()

    def to_json(self) -> bytes:
        """Return the record's value."""
        document = {
            "domain": self.domain,
            "topic": self.topic,
            "partition_date": self.day.isoformat(),
            "file": self.file,
            "rows": self.rows,
            "bytes": self.size,
            "offsets": offsets_json(self.offsets),
            "written_at": self.written_at.isoformat(),
        }
        if self.recovered:
            document["recovered"] = True
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Return the record of a value.

        Raises:
            ValueError: it is no record of the ledger.
        """
        try:
            document = json.loads(value or b"")
            return cls(
                domain=str(document["domain"]),
                topic=str(document["topic"]),
                day=date.fromisoformat(document["partition_date"]),
                file=str(document["file"]),
                rows=int(document["rows"]),
                size=int(document["bytes"]),
                offsets=offsets_from_json(document["offsets"]),
                written_at=datetime.fromisoformat(document["written_at"]),
                recovered=bool(document.get("recovered")),
            )
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{(value or b'')[:200]!r} is no record of the ledger: {error!r}") from error
