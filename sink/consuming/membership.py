"""Whether this process is still the member of the group that it was: the group expels one that was frozen.

A suspended or swapping machine does not notice that it stood still; its client learns of the expulsion some time after
it runs again, and until then a partition's new owner writes the same records. What may be written is decided by
`sink.loop`, what a rebalance gives up is said by `sink.consuming.broker`'s listener.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from platform_core.errors import TransientError
from platform_kafka.records import TopicPartition
from sink.consuming.broker import Broker
from sink.consuming.offsets import Offsets

log = logging.getLogger(__name__)

# Between two looks lie a poll of 0.25 s, a commit or a few PUTs. A heartbeat is 3.3 s old at most, so that a member
# that stood still for less keeps its session of 10 s.
FROZEN_SECONDS = 5.0


class Membership:
    """Notices that the process stood still, and has the group's coordinator confirm the membership then.

    Args:
        broker: Asked by a commit of what is safe: the coordinator refuses that of an expelled member.
        offsets: What is safe.
    """

    def __init__(self, broker: Broker, offsets: Offsets) -> None:
        self._broker = broker
        self._offsets = offsets
        self._looked_at: float | None = None
        self._in_doubt = False

    def certain(self) -> bool:
        """Return whether the membership is not in doubt; it is, if this was not called for `FROZEN_SECONDS`."""
        now = time.monotonic()
        seconds = now - (now if self._looked_at is None else self._looked_at)
        self._looked_at = now
        if seconds > FROZEN_SECONDS:
            log.warning("membership_in_doubt seconds=%.0f; nothing is written until the group confirms it", seconds)
            self._in_doubt = True
        return not self._in_doubt

    def confirmed(self, pending: Mapping[TopicPartition, int]) -> bool:
        """Return whether files may be written; in doubt, ask the coordinator.

        Args:
            pending: For each Kafka partition the lowest offset that is not safe yet, if there is one.
        """
        if self.certain():
            return True
        offsets = self._offsets.safe(pending)
        if not offsets:  # nothing was read since the last rebalance, so nothing can be written
            return False
        try:
            self._broker.commit(offsets)
        except TransientError as error:
            log.warning("membership_unconfirmed error=%s", error)
            return False
        # An answer that was waited for so long may be older than another standstill: then it is asked for again.
        self._in_doubt = False
        return self.certain()
