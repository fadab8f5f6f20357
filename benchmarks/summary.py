"""Figures of several rounds as one line a contestant: median, spread, and the ratio to the peer.

How a line is shown belongs to `report` and `picture`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.usage import Usage


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of several rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One contestant of a case.

    Attributes:
        contestant: Its name.
        rounds: How often it did the work.
        cpu_seconds: Of all its processes.
        wall_seconds: Means little on a machine that does other things as well.
        peak_bytes: The most of all rounds.
        ratio: Median over rounds of its CPU seconds to the peer's in the same round.
        units_a_cpu_second: How much of the work a CPU second does; None when the case has no unit.
    """

    contestant: str
    rounds: int
    cpu_seconds: Spread
    wall_seconds: Spread
    peak_bytes: int
    ratio: Spread
    units_a_cpu_second: float | None


def summarise(
    used: Mapping[str, Sequence[Usage]], units: int = 0, peers: Mapping[str, str] | None = None
) -> list[Line]:
    """Return a line for each contestant, in their order.

    Args:
        used: What each used in each round; the first is the peer.
        units: How many things the work takes, 0 when that means nothing.
        peers: Whom each is compared with; the first by default.
    """
    first = next(iter(used))
    peer_of = {name: used[(peers or {}).get(name, first)] for name in used}
    return [
        Line(
            contestant=name,
            rounds=len(rounds),
            cpu_seconds=spread([usage.cpu_seconds for usage in rounds]),
            wall_seconds=spread([usage.wall_seconds for usage in rounds]),
            peak_bytes=max(usage.peak_bytes for usage in rounds),
            ratio=spread(
                [one.cpu_seconds / other.cpu_seconds for one, other in zip(rounds, peer_of[name], strict=True)]
            ),
            units_a_cpu_second=units / median(usage.cpu_seconds for usage in rounds) if units else None,
        )
        for name, rounds in used.items()
    ]


def spread(values: Sequence[float]) -> Spread:
    """Return the median of some values and the two at the ends."""
    return Spread(median(values), min(values), max(values))
