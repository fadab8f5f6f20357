"""Commits to the consumer group, and whether Kafka takes them.

Which offsets may be committed is decided by `sink.consuming.offsets`, when to try by `sink.loop`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from platform_core.errors import TransientError
from platform_kafka.records import TopicPartition
from sink.backoff import Backoff
from sink.consuming.broker import Broker
from sink.consuming.offsets import Offsets
from sink.watching.metrics import SinkMetrics

log = logging.getLogger(__name__)

# Asking the coordinator at each step what others have committed would keep it busy.
LOOK_SECONDS = 1.0


class Commits:
    """Commits what may be committed.

    Args:
        broker: Takes the commits.
        offsets: Positions and committed offsets.
        metrics: Counts failures.
    """

    def __init__(self, broker: Broker, offsets: Offsets, metrics: SinkMetrics) -> None:
        self._broker = broker
        self._offsets = offsets
        self._metrics = metrics
        self._next_look = 0.0
        self.backoff = Backoff()

    def commit(self, pending: Mapping[TopicPartition, int], now: float) -> bool:
        """Commit what is new and safe.

        Args:
            pending: For each Kafka partition the lowest offset that is not safe yet, if there is one.
            now: Seconds of a clock that never steps back.

        Returns:
            Whether Kafka took it, or there was nothing to commit.
        """
        offsets = self._offsets.committable(pending)
        if offsets:
            try:
                gone = self._broker.commit(offsets)
            except TransientError as error:
                self.backoff.failed(now)
                self._metrics.commit_failures.inc()
                log.warning("commit_failed error=%s", error)
                return False
            self._offsets.committed({tp: offset for tp, offset in offsets.items() if tp not in gone})
        self.backoff.succeeded()
        return True

    def group_has(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Tell whether the group, this process or others, has committed up to some ends; asks once a second."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            committed = self._broker.committed(ends)
        except TransientError as error:
            log.warning("committed_unknown error=%s", error)
            return False
        return all(committed.get(tp, -1) >= end for tp, end in ends.items())
