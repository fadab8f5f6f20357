"""Flushes that another thread asks for, and the loop answers: `POST /flush`.

Only the handing over belongs here; what a flush does is in `sink.loop`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from platform_core.errors import TransientError


@dataclass(frozen=True)
class _FlushRequest:
    answered: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, object] = field(default_factory=dict)


class FlushRequests:
    """A queue of requests."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_FlushRequest] = queue.SimpleQueue()

    def ask(self, timeout_seconds: float) -> dict[str, object]:
        """Ask the loop to flush and wait for it, see `Sink.request_flush`."""
        request = _FlushRequest()
        self._queue.put(request)
        if not request.answered.wait(timeout_seconds):
            raise TransientError(
                f"The sink did not flush within {timeout_seconds:.0f} s. It goes on trying; look at its log."
            )
        return request.answer

    def answer(self, flush: Callable[[], bool], rows: Callable[[], int]) -> None:
        """Answer the requests that wait, in the loop's thread.

        Args:
            flush: Flushes, and returns whether everything is committed.
            rows: Returns the number of buffered rows.
        """
        while not self._queue.empty():
            request, started, buffered = self._queue.get(), time.monotonic(), rows()
            drained = flush()
            request.answer.update(drained=drained, rows=buffered, seconds=round(time.monotonic() - started, 3))
            request.answered.set()
