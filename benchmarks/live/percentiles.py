"""Waits as the figures that a person asks for: half of them are shorter, 99 of 100 are, and all are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles

COLUMNS = ("p50 s", "p99 s", "max s", "samples")


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the values of `COLUMNS`; between two samples the line between them counts."""
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0], 1
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[98], max(seconds), len(seconds)
