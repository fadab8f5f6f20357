"""The limit on dead letters: a topic of which most is refused is paused instead of being diverted.

A few bad records are the business of the dead-letter topic; a topic of which every second record is bad has a
producer or a contract that is wrong, and the mistake is cheaper to mend while the records still wait in the raw
topic. What to do is in docs/operations.md; pausing belongs to `sink.loop`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

WINDOW_RECORDS = 1_000
"""Fewer records of a topic say nothing about its producer."""


class RefusalLimit:
    """Knows what was refused of the last thousand records of each topic.

    Args:
        max_ratio: The share from which on a topic is paused; 1 never pauses it.
    """

    def __init__(self, max_ratio: float) -> None:
        self._max_ratio = max_ratio
        self._windows: defaultdict[str, deque[str | None]] = defaultdict(lambda: deque(maxlen=WINDOW_RECORDS))

    def exceeded(self, topic: str, reasons: Iterable[str | None]) -> str | None:
        """Count records of a topic, before any of them is diverted.

        Args:
            reasons: Why each was refused; None for one that was not.

        Returns:
            What is wrong and what to do, if too many were refused.
        """
        window = self._windows[topic]
        window.extend(reasons)
        total = len(window) - window.count(None)
        if self._max_ratio >= 1 or len(window) < WINDOW_RECORDS or total < self._max_ratio * WINDOW_RECORDS:
            return None
        refused = Counter(reason for reason in window if reason is not None)
        counts = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        return (
            f"Topic `{topic}`: {total} of the last {WINDOW_RECORDS} records were refused ({counts}), and"
            f" `SINK_MAX_REFUSED_RATIO` is {self._max_ratio:g}. The sink reads no more of this topic before it diverts"
            " them all; the other topics go on. Nothing is lost, what was not committed waits in the topic. Look at"
            " some with `pdp dlq peek`, mend the producer or the contract, and restart the sink; to divert them,"
            " restart it with SINK_MAX_REFUSED_RATIO=1."
        )
