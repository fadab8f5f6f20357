"""The footer of a Bronze file: whose records it holds, their offsets, and which file it is.

Only the footer's form belongs here, see docs/architecture.md; the columns of the file are
`platform_core.domain.bronze_schema`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from platform_kafka.offset_ranges import OffsetRanges, offsets_from_json, offsets_json
from platform_kafka.records import TopicPartition

_OFFSETS = b"pdp.offsets"
_ERASED = b"pdp.erased"
_DOMAIN = b"pdp.domain"
_FILE = b"pdp.file"


@dataclass(frozen=True)
class BronzeFooter:
    """What the sink says in the metadata of a Parquet file.

    Attributes:
        topic: The raw topic.
        offsets: Kafka partition to the offsets in the file.
        erased: Kafka partition to the offsets that were in the file until a person's data was erased.
        file: The folder of its date and its name; empty in files that were written before there was one.
    """

    domain: str
    topic: str
    offsets: dict[int, OffsetRanges]
    erased: dict[int, OffsetRanges] = field(default_factory=dict)
    file: str = ""

    def named(self, path: str) -> Self:
        """Return the footer of the file with this path below the lake's root; what is above the date may move."""
        return replace(self, file="/".join(path.split("/")[-2:]))

    def is_of(self, path: str) -> bool:
        """Return whether a file with this path may have the footer: another file's is in what was copied over it."""
        return not self.file or f"/{path}".endswith(f"/{self.file}")

    @property
    def offset_count(self) -> int:
        """How many offsets it names: as many as the file has rows, because a file holds no offset twice."""
        return sum(ranges.count for ranges in self.offsets.values())

    @property
    def by_topic_partition(self) -> dict[TopicPartition, OffsetRanges]:
        """The offsets by topic and partition."""
        return {(self.topic, partition): ranges for partition, ranges in self.offsets.items()}

    @property
    def erased_by_topic_partition(self) -> dict[TopicPartition, OffsetRanges]:
        """The erased offsets by topic and partition."""
        return {(self.topic, partition): ranges for partition, ranges in self.erased.items()}

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of the file's schema."""
        metadata = {
            _OFFSETS: json.dumps({self.topic: offsets_json(self.offsets)}).encode(),
            _DOMAIN: self.domain.encode(),
        }
        if self.file:
            metadata[_FILE] = self.file.encode()
        if self.erased:
            metadata[_ERASED] = json.dumps(offsets_json(self.erased)).encode()
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Self | None:
        """Return the footer of a file's metadata, None if the sink wrote none.

        Raises:
            ValueError: there is one that cannot be read.
        """
        if not metadata or _OFFSETS not in metadata:
            return None
        try:
            ((topic, offsets),) = json.loads(metadata[_OFFSETS]).items()
            erased = offsets_from_json(json.loads(metadata.get(_ERASED, b"{}")))
            file = metadata.get(_FILE, b"").decode()
            return cls(metadata[_DOMAIN].decode(), topic, offsets_from_json(offsets), erased, file)
        except (KeyError, AttributeError) as error:
            raise ValueError(f"{metadata[_OFFSETS]!r} is no footer of a Bronze file") from error
