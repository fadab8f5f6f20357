"""The orders producer as the fault suite runs it: `python cdc_process.py MUTANT [arguments]`; "" is no mutant.

A mutant is a way in which pollers in the wild miss rows; the suite must catch each of them.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from producers.cli import main
from producers.postgres.fence import MAX_ID, FencedReader
from producers.postgres.poller import TablePoller


def naive_watermark() -> None:
    """The highest time that was seen is the watermark: what commits later with an earlier time is never read."""
    poll = FencedReader.poll

    def naive(self):
        highest = self.position.low
        for page in poll(self):
            highest = max(highest, *(row.updated_at for row in page))
            yield page
        self._read = replace(self._read, low=highest, low_key=MAX_ID, polls=(), sent=(), numbers=None)

    FencedReader.poll = naive


def save_before_delivery() -> None:
    """The watermark moves on before the broker has acknowledged."""
    poll = TablePoller.poll

    def early(self, now=None):
        before = self.reader.position
        for _ in self.reader.poll():
            pass
        self._save(self.reader.checkpoint())
        self.reader.position = before
        return poll(self, now)

    TablePoller.poll = early


if __name__ == "__main__":
    mutant = sys.argv[1]
    if mutant:
        globals()[mutant]()
    sys.exit(main(sys.argv[2:]))
