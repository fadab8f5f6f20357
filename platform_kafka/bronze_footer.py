"""The footer of a Bronze file: whose records it holds, and their offsets.

Only the footer's form belongs here, see docs/architecture.md; the columns of the file are
`platform_core.domain.bronze_schema`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from platform_kafka.offset_ranges import OffsetRanges, offsets_from_json, offsets_json
from platform_kafka.records import TopicPartition

_OFFSETS = b"pdp.offsets"
_DOMAIN = b"pdp.domain"


@dataclass(frozen=True)
class BronzeFooter:
    """What the sink says in the metadata of a Parquet file.

    Attributes:
        topic: The raw topic.
        offsets: Kafka partition to the offsets in the file.
    """

    domain: str
    topic: str
    offsets: dict[int, OffsetRanges]

    @property
    def by_topic_partition(self) -> dict[TopicPartition, OffsetRanges]:
        """The offsets by topic and partition."""
        return {(self.topic, partition): ranges for partition, ranges in self.offsets.items()}

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of the file's schema."""
        return {_OFFSETS: json.dumps({self.topic: offsets_json(self.offsets)}).encode(), _DOMAIN: self.domain.encode()}

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
            return cls(metadata[_DOMAIN].decode(), topic, offsets_from_json(offsets))
        except (KeyError, AttributeError) as error:
            raise ValueError(f"{metadata[_OFFSETS]!r} is no footer of a Bronze file") from error
