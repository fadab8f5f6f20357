"""The limit on dead letters: a sink that refuses most of what it reads stops instead of diverting it all.

A few bad records are the business of the dead-letter topic; a topic of which every second record is bad has a
producer or a contract that is wrong, and the mistake is cheaper to mend while the records still wait in the raw
topic. What to do is in docs/operations.md.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from platform_core.errors import PermanentError

WINDOW_RECORDS = 1_000
"""Fewer records of a topic say nothing about its producer."""


@dataclass
class _Window:
    batches: deque[tuple[int, Counter[str]]] = field(default_factory=deque)
    records: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class RefusalLimit:
    """Counts what was refused of the last thousand records of each topic.

    Args:
        max_ratio: The share from which on the sink stops; 1 never stops it.
    """

    def __init__(self, max_ratio: float) -> None:
        self._max_ratio = max_ratio
        self._windows: dict[str, _Window] = {}

    def count(self, topic: str, records: int, refused: Counter[str]) -> None:
        """Count one batch of a topic, before its letters are sent.

        Args:
            topic: The raw topic.
            records: How many records the batch has.
            refused: How many of them were refused, by reason.

        Raises:
            PermanentError: too many were.
        """
        window = self._windows.setdefault(topic, _Window())
        window.batches.append((records, refused))
        window.records += records
        window.refused += refused
        while window.records - window.batches[0][0] >= WINDOW_RECORDS:
            old_records, old_refused = window.batches.popleft()
            window.records -= old_records
            window.refused -= old_refused
        total = window.refused.total()
        if self._max_ratio < 1 and window.records >= WINDOW_RECORDS and total >= self._max_ratio * window.records:
            reasons = ", ".join(f"{reason} {count}" for reason, count in window.refused.most_common())
            raise PermanentError(
                f"Topic `{topic}`: {total} of the last {window.records} records were refused ({reasons}), and"
                f" `SINK_MAX_REFUSED_RATIO` is {self._max_ratio:g}. The sink stops before it diverts them all: nothing"
                " is lost, what was not committed waits in the topic. Look at some with `pdp dlq peek`, mend the"
                " producer or the contract, and start the sink again; to divert them, start it with"
                " SINK_MAX_REFUSED_RATIO=1.",
                topic=topic,
                refused=total,
                records=window.records,
            )
