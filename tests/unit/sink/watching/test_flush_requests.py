"""Flushes that others ask for: the loop is held up once, however many ask."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from sink.watching.flush_requests import FlushRequests


def test_many_requests_are_answered_by_one_flush():
    requests, flushes = FlushRequests(), []

    def flush() -> bool:
        flushes.append(True)
        return True

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(requests.ask, 60) for _ in range(20)]
        while requests._queue.qsize() < 20:
            time.sleep(0.01)
        requests.answer(flush, lambda: 5)
        requests.answer(flush, lambda: 0)
        found = [answer.result() for answer in answers]
    assert len(flushes) == 1
    assert all((answer["drained"], answer["rows"]) == (True, 5) for answer in found)
