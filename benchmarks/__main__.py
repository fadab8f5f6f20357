"""`python -m benchmarks CASE`: run a case, print its table, write its result; `make bench` calls it.

A case is added to `CASES`; what it does is in its own module.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import backfill, change_capture, correction, discovery_tick
from benchmarks.cluster import case as cluster
from benchmarks.day import case as day
from benchmarks.frame import Case, DifferentResultsError, compete
from benchmarks.history import case as history
from benchmarks.live import first_done, latency
from benchmarks.machine import circumstances
from benchmarks.picture import drawn
from benchmarks.report import RESULTS, report_of, save, table, tables_beside
from benchmarks.sink import case as sink
from benchmarks.sink import memory as sink_memory
from benchmarks.summary import summarise
from benchmarks.usage import ProgramFailedError
from benchmarks.years import case as years

CASES: dict[str, Callable[[Path, int | None], AbstractContextManager[Case]]] = {
    "day": day.prepared,
    "day-sail": partial(day.prepared, engines=("sail",)),
    "cluster": cluster.prepared,
    "history": history.prepared,
    "backfill": backfill.prepared,
    "correction": correction.prepared,
    "sink": sink.prepared,
    "sink-memory": sink_memory.prepared,
    "cdc": change_capture.prepared,
    "tick": discovery_tick.prepared,
    "years": years.prepared,
    "latency": latency.prepared,
    "up": first_done.prepared,
}
"""Name to what prepares a case in a folder, at a size or its own; services and data go when the block ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one case and return the process's exit code: 1 when a contestant failed or results differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="how often each contestant does the work (default 3)"
    )
    parser.add_argument(
        "--events",
        type=int,
        help="events, orders, files a date for `tick`, dates for `years`, late records a round for `latency`;"
        " default: the case's own",
    )
    parser.add_argument("--result", type=Path, help="where the JSON goes (default benchmarks/results/CASE.json)")
    parser.add_argument("--picture", type=Path, help="draw the result as SVG there")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    before = circumstances()
    with tempfile.TemporaryDirectory(prefix="pdp-benchmark-") as name:
        folder = Path(name)
        try:
            with CASES[options.case](folder / "data", options.events) as case:
                console.print(f"{case.title}: {case.size}")
                # Saved after each round: an interrupted run keeps those that are whole.
                for used in compete(case, options.rounds, folder / "rounds", console.print):
                    report = report_of(case, summarise(used, case.units, case.peers), before)
                    save(report, options.result or RESULTS / f"{options.case}.json")
                    if options.picture:
                        options.picture.write_text(drawn(report))
        except (DifferentResultsError, ProgramFailedError) as error:
            console.print(str(error), style="red", markup=False)
            return 1
    console.print(table(report))
    for beside in tables_beside(report):
        console.print(beside)
    return 0


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
