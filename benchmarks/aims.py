"""What the platform means to keep to, beside the results that are stored: `python -m benchmarks.aims`, or `make aims`.

An aim bounds one figure of a case. Figures depend on the machine, so no test run looks here: who changes what an aim is
about runs the case again. What a case measures, and how much work it is, belongs to the case.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import RESULTS, Report, load
from benchmarks.summary import Line

GIGABYTE = 10**9
A_WAY = "late record → warehouse"


@dataclass(frozen=True)
class Figure:
    """What is taken of a result, its unit, and whether more of it is better."""

    unit: str
    of: Callable[[Report, str], float]
    at_least: bool = False


def _line(report: Report, contestant: str) -> Line:
    return next(line for line in report.lines if line.contestant == contestant)


def _measured(column: str) -> Callable[[Report, str], float]:
    def of(report: Report, row: str) -> float:
        for measures in report.measures:
            if row in measures.rows and column in measures.columns:
                return measures.rows[row][list(measures.columns).index(column)]
        raise KeyError(f"{report.case}: no `{column}` of `{row}`")

    return of


RATIO = Figure("×", lambda report, name: _line(report, name).ratio.median)
CPU = Figure("CPU s", lambda report, name: _line(report, name).cpu_seconds.median)
WALL = Figure("s", lambda report, name: _line(report, name).wall_seconds.median)
MEMORY = Figure("GB", lambda report, name: _line(report, name).peak_bytes / GIGABYTE)
SPEED = Figure("/ CPU s", lambda report, name: _line(report, name).units_a_cpu_second or 0, at_least=True)
WAIT = Figure("s (p50)", _measured("p50 s"))
RESIDENT = Figure("MiB", _measured("resident MiB (PSS)"))


@dataclass(frozen=True)
class Aim:
    """A bound of one figure of one contestant, or of one row of what a case measures besides."""

    what: str
    case: str
    name: str
    figure: Figure
    bound: float

    def measured(self, report: Report) -> float:
        """Return the figure of a result."""
        return self.figure.of(report, self.name)

    def is_met(self, report: Report) -> bool:
        """Return whether a result keeps to it."""
        figure = self.measured(report)
        return figure >= self.bound if self.figure.at_least else figure <= self.bound


AIMS = (
    Aim("a full day on Sail, against DuckDB", "day-sail", "Sail", RATIO, 1.3),
    Aim("its memory", "day-sail", "Sail", MEMORY, 2),
    Aim("a full day on Spark, warm, against DuckDB", "day", "Spark, warm", RATIO, 4),
    Aim("its memory", "day", "Spark, warm", MEMORY, 2),
    Aim("a full day on Spark, cold, against DuckDB", "day", "Spark, cold", RATIO, 8),
    Aim("a date of 3,000 rows", "history", "10 dates", CPU, 5),
    Aim("the same after 1,000 dates, against 10", "history", "1,000 dates", RATIO, 1.15),
    Aim("a date of 20,000 rows in a backfill on Sail", "backfill", "Sail", CPU, 3),
    Aim("a date of 20,000 rows in a backfill on Spark", "backfill", "Spark", CPU, 8),
    Aim("a late file, against its full day", "correction", "correction", RATIO, 0.4),
    Aim("records that the sink takes", "sink", "sink", SPEED, 100_000),
    Aim("a late record is in the warehouse", "latency", A_WAY, WAIT, 105),
    Aim("`make up` has its first date DONE", "up", "make up", WALL, 155),
    Aim("memory of the idle platform", "up", "all", RESIDENT, 1_717),
    *(
        Aim(f"{what} after three years, against the first week", "years", f"{what}, three years", RATIO, 1.2)
        for what in (
            "tick",
            "one date",
            "maintenance",
            "pdp partitions list of a week",
            "pdp partitions show",
            "pdp partitions history",
            "pdp quarantine list of a date",
            "pdp audit of a date",
            "pdp domains",
            "pdp alerts",
            "pdp corrections",
        )
    ),
)
"""The memory of the idle platform is 1.8 GB, which its case counts in MiB."""


def compared(folder: Path = RESULTS) -> tuple[Table, bool]:
    """Return the aims beside the results of a folder, and whether all are measured and met."""
    table = Table(title="aims, and the results that are stored")
    for column in ("aim", "bound", "measured", "", "rounds", "load", "commit", "make bench"):
        table.add_column(column, justify="right" if column in ("bound", "measured", "rounds", "load") else "left")
    all_met = True
    for aim in AIMS:
        sign = "≥" if aim.figure.at_least else "≤"
        row = [aim.what, f"{sign} {aim.bound:,g} {aim.figure.unit}"]
        path = folder / f"{aim.case}.json"
        if not path.exists():
            table.add_row(*row, "", "not measured", "", "", "", f"CASE={aim.case}")
            all_met = False
            continue
        report = load(path)
        met = aim.is_met(report)
        all_met &= met
        circumstances = report.circumstances
        table.add_row(
            *row,
            f"{aim.measured(report):,.0f}" if aim.bound >= 100 else f"{aim.measured(report):,.2f}",
            "met" if met else "[bold red]missed[/]",
            str(report.lines[0].rounds),
            f"{circumstances.load:.0f}",
            circumstances.commit,
            f"CASE={aim.case}",
        )
    return table, all_met


def main() -> int:
    """Print the table and return the process's exit code: 1 when an aim is missed or not measured."""
    table, all_met = compared()
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
