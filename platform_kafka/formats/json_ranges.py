"""A set of offsets as a field of what pydantic reads and writes: `[[0, 4], [9, 9]]`.

The arithmetic is in `platform_kafka.offset_ranges`, which stays free of pydantic: every command of `pdp` loads it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

from platform_kafka.offset_ranges import OffsetRanges


def _ranges(value: object) -> OffsetRanges:
    return value if isinstance(value, OffsetRanges) else OffsetRanges.from_json(value)


JsonRanges = Annotated[OffsetRanges, PlainValidator(_ranges), PlainSerializer(OffsetRanges.to_json)]
