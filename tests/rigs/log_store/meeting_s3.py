"""A store before which two writers meet: a PUT waits until another one is there, so that both arrive at once."""

from __future__ import annotations

import threading

from tests.rigs.faults.faulty_s3 import ANSWERS, FaultyS3

ALONE_SECONDS = 0.5
CONFLICT = "409"
"""What a store may answer to two writers that ask for one object at once: neither has it yet."""


class MeetingS3(FaultyS3):
    """The faulty proxy, at which PUTs go on in twos.

    What a clock leaves to chance is certain here: both have looked at the log before either writes.
    """

    def __init__(self, endpoint: str, seed: int) -> None:
        super().__init__(endpoint, seed)
        self.answers = {**ANSWERS, CONFLICT: (409, "ConditionalRequestConflict")}
        self.meetings = 0
        self._both = threading.Barrier(2)

    def draw(self, method: str, path: str) -> str | None:
        if method == "PUT":
            self._meet()
        return super().draw(method, path)

    def _meet(self) -> None:
        try:
            if self._both.wait(ALONE_SECONDS) == 0:
                self.meetings += 1
        except threading.BrokenBarrierError:  # the other one has nothing to write at the moment
            self._both.reset()
