"""A record of the ledger: one Bronze file that was stored before a commit, on `processed-events`.

Only the record's form belongs here, see docs/architecture.md for its fields; `sink.bronze.ledger` writes one, and who
reads the ledger decides what a record means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from platform_kafka.formats.json_ranges import JsonRanges
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
    day: Annotated[date, Field(alias="partition_date")]
    file: str
    rows: int
    size: Annotated[int, Field(alias="bytes")]
    offsets: Mapping[int, JsonRanges]
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
        return _STORED.dump_json(self, by_alias=True, exclude_defaults=True)

    @classmethod
    def from_json(cls, value: bytes | None) -> LedgerRecord:
        """Return the record of a value.

        Raises:
            ValueError: it is no record of the ledger.
        """
        try:
            return _STORED.validate_json(value or b"")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{(value or b'')[:200]!r} is no record of the ledger: {path} {first['msg']}") from error


_STORED = TypeAdapter(LedgerRecord)
