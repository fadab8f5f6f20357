"""Flushes that another thread asks for, and the loop answers: `POST /flush`.

Only the handing over belongs here; what a flush does is in `sink.loop`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

from platform_core.errors import TransientError


class FlushRequests:
    """A queue of requests."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Future[dict[str, object]]] = SimpleQueue()

    def ask(self, timeout_seconds: float) -> dict[str, object]:
        """Ask the loop to flush and wait for it, see `Sink.request_flush`."""
        request: Future[dict[str, object]] = Future()
        self._queue.put(request)
        try:
            return request.result(timeout_seconds)
        except TimeoutError:
            raise TransientError(
                f"The sink did not flush within {timeout_seconds:.0f} s. It goes on trying; look at its log."
            ) from None

    def answer(self, flush: Callable[[], bool], rows: Callable[[], int]) -> None:
        """Answer all requests that wait by one flush, in the loop's thread: many of them hold up no more than one.

        Args:
            flush: Flushes, and returns whether everything is committed.
            rows: Returns the number of buffered rows.
        """
        waiting = [self._queue.get() for _ in range(self._queue.qsize())]  # the loop alone takes them
        if not waiting:
            return
        started, buffered = time.monotonic(), rows()
        drained = flush()
        seconds = round(time.monotonic() - started, 3)
        for request in waiting:
            request.set_result({"drained": drained, "rows": buffered, "seconds": seconds})
