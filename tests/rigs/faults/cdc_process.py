"""The orders producer as the fault suite runs it: `python cdc_process.py MUTANT [arguments]`; "" is no mutant.

A mutant is a way in which pollers in the wild miss rows; the suite must catch each of them.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from producers.cli import main
from producers.postgres.backlog import Backlog
from producers.postgres.fence import MAX_ID, FencedReader


def naive_watermark() -> None:
    """The highest time that was seen is the watermark: what commits later with an earlier time is never read."""
    poll = FencedReader.poll

    def naive(self):
        highest = self.position.low
        for page in poll(self):
            highest = max(highest, *(row.updated_at for row in page))
            yield page
        self._read = replace(self._read, low=highest, low_key=MAX_ID, polls=(), sent={})

    FencedReader.poll = naive


def save_before_delivery() -> None:
    """The watermark moves on before the broker has acknowledged."""
    send = Backlog.send

    def early(self):
        before = self._reader.position
        for _ in self._reader.poll():
            pass
        self._save(self._reader.confirm())
        self._reader.position = before
        return send(self)

    Backlog.send = early


if __name__ == "__main__":
    mutant = sys.argv[1]
    if mutant:
        globals()[mutant]()
    sys.exit(main(sys.argv[2:]))
