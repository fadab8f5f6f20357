"""Seeded randomness by day: streams, times of day and identifiers, all vectorised.

Add a distribution here when two parts of the history draw from it. What is drawn belongs to the part that draws it;
numpy promises no equal streams across versions, which is why a golden digest is among the unit tests.
"""

from __future__ import annotations

from datetime import date
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAY_US = 86_400_000_000
SECOND_US = 1_000_000

# Orders an hour of a food-delivery day: a lunch and a dinner peak.
HOURLY_WEIGHTS = (2, 1, 1, 1, 1, 2, 3, 5, 6, 5, 5, 8, 11, 9, 6, 5, 6, 9, 13, 14, 11, 8, 5, 3)

_CUMULATIVE = np.concatenate([[0.0], np.cumsum(np.array(HOURLY_WEIGHTS, float) / sum(HOURLY_WEIGHTS))])
_HEX = np.array([list(b"%02x" % value) for value in range(256)], dtype=np.uint8)
_DASHED = ((0, 0, 8), (8, 9, 4), (12, 14, 4), (16, 19, 4), (20, 24, 12))


class Stream(IntEnum):
    """What a generator is for; each part of a day has its own, so that one never shifts another."""

    WORLD = 0
    ORDERS = 1
    CLICKS = 2
    REGISTRATIONS = 3
    LATE = 4


def generator(seed: int, day: date, stream: Stream) -> np.random.Generator:
    """Return the generator of one part of one day."""
    return np.random.default_rng([seed, day.toordinal(), int(stream)])


def times_of_day(rng: np.random.Generator, count: int) -> Ints:
    """Draw times within a UTC day by the diurnal curve, in microseconds since midnight."""
    seconds: Floats = np.interp(rng.random(count), _CUMULATIVE, np.arange(25) * 3600.0)
    times: Ints = np.minimum((seconds * SECOND_US).astype(np.int64), DAY_US - 1)
    return times


def uuids(rng: np.random.Generator, count: int) -> pa.Array:
    """Draw version 4 UUIDs as text, as a `binary` array."""
    import pyarrow as pa  # late: the live shop draws none

    if not count:
        return pa.array([], pa.binary())
    raw = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    digits = _HEX[raw].reshape(count, 32)
    text = np.full((count, 36), ord("-"), dtype=np.uint8)
    for source, target, length in _DASHED:
        text[:, target : target + length] = digits[:, source : source + length]
    buffers = [None, pa.py_buffer(text.tobytes())]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(36), count, buffers).cast(pa.binary())
