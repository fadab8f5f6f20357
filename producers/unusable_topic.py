"""A topic that a live source cannot write: its records wait, a person is told once, and the source goes on by itself.

What the cluster's refusal is belongs to `producers.delivery`, what to do about it to docs/operations.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from platform_core.clock import SystemClock
from platform_core.errors import TransientError
from platform_core.lake.alerts import Alert, AlertKind
from producers.delivery import TopicUnusableError

log = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
"""A round that is refused has sent the good records of its stretch, and its repetition sends them again."""


class UnusableTopic:
    """Lets a round be tried ever more rarely while the cluster refuses a topic, and raises one alert.

    Args:
        domain: What the source sends.
        send: Takes the alert; raises `TransientError` when it was not delivered.
        seconds: A clock that never steps back.
    """

    def __init__(
        self, domain: str, send: Callable[[Alert], None], *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._domain = domain
        self._send = send
        self._seconds = seconds
        self._error: TopicUnusableError | None = None
        self._alerted = False
        self._pause = 0.0
        self._not_before = 0.0

    def guarded(self, act: Callable[[], object]) -> Callable[[], None]:
        """Return a round that waits while a topic is refused.

        Args:
            act: One round; a refused topic is a `TopicUnusableError`, which is let through.
        """

        def round_() -> None:
            if self._error is not None and self._seconds() < self._not_before:
                raise TransientError(self._error.message)
            try:
                act()
            except TopicUnusableError as error:
                self._note(error)
                raise
            self._usable_again()

        return round_

    def _note(self, error: TopicUnusableError) -> None:
        if self._error is None:
            log.error("topic_unusable topic=%s error=%s", error.topic, error)
        self._error = error
        self._pause = min(max(2 * self._pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._not_before = self._seconds() + self._pause
        if not self._alerted:
            self._alerted = self._alert(error)

    def _alert(self, error: TopicUnusableError) -> bool:
        kind, at = AlertKind.TOPIC_UNUSABLE, SystemClock().now()
        key = f"{kind.value.lower()}:{error.topic}:{at.isoformat()}"
        where, command = f"topic {error.topic}", "python -m producers provision"
        try:
            self._send(Alert(key, kind, self._domain, None, error.message, where, command, at))
            return True
        except TransientError as failure:  # the next refusal tries again
            log.warning("alert_not_sent source=%s error=%s", self._domain, failure)
            return False

    def _usable_again(self) -> None:
        if self._error is not None:
            log.info("topic_usable_again topic=%s", self._error.topic)
        self._error, self._alerted, self._pause = None, False, 0.0
