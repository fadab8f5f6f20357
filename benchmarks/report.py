"""A case's lines as a table for a person and as JSON for a program.

The picture is `picture`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.frame import Amount, Case, Measures
from benchmarks.machine import Circumstances
from benchmarks.summary import Line, Spread
from platform_core.settings import REPOSITORY

MEBIBYTE = 2**20
RESULTS = REPOSITORY / "benchmarks" / "results"
"""Where the results are stored that the documents name."""


@dataclass(frozen=True)
class Report:
    """One case, run.

    Attributes:
        case: Its name.
        title: What the work is.
        size: How much of it.
        unit: What is counted a CPU second.
        lines: One a contestant; the first is the peer.
        circumstances: Machine and commit.
        amounts: What was counted once.
        measures: What was measured besides.
        others: The contestants that are not the platform.
    """

    case: str
    title: str
    size: str
    unit: str
    lines: Sequence[Line]
    circumstances: Circumstances
    amounts: Sequence[Amount] = ()
    measures: Sequence[Measures] = ()
    others: Sequence[str] = ()


def report_of(case: Case, lines: Sequence[Line], circumstances: Circumstances) -> Report:
    """Return what is known of a case that was run."""
    measures = case.measures()
    return Report(
        case.name, case.title, case.size, case.unit, lines, circumstances, case.amounts, measures, case.others
    )


def save(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(report), indent=2, default=list) + "\n")


def load(path: Path) -> Report:
    """Read what `save` wrote."""
    values: dict[str, Any] = json.loads(path.read_text())
    values["circumstances"] = Circumstances(**values["circumstances"])
    values["lines"] = [_line(line) for line in values["lines"]]
    values["amounts"] = tuple(Amount(**amount) for amount in values.get("amounts", ()))
    values["measures"] = tuple(Measures(**measures) for measures in values.get("measures", ()))
    values["others"] = tuple(values.get("others", ()))
    return Report(**values)


def _line(values: dict[str, Any]) -> Line:
    spreads = {name: Spread(**values[name]) for name in ("cpu_seconds", "wall_seconds", "ratio")}
    return Line(**(values | spreads))


def table(report: Report) -> Table:
    """Return the table that a person reads."""
    machine = report.circumstances
    rendered = Table(
        title=f"{report.title}: {report.size}",
        caption=f"{machine.cores} cores, load {machine.load}, commit {machine.commit}. Median (least–greatest) of"
        f" {report.lines[0].rounds} alternating rounds; at a load above the cores only CPU and ratios say something.",
    )
    rendered.add_column("contestant")
    for name in ("CPU s", "ratio", "wall s", "peak MiB", *([f"{report.unit} / CPU s"] if report.unit else [])):
        rendered.add_column(name, justify="right")
    for line in report.lines:
        cells = [
            _in_words(line.cpu_seconds, 1),
            _in_words(line.ratio, 2),
            _in_words(line.wall_seconds, 1),
            f"{line.peak_bytes / MEBIBYTE:,.0f}",
        ]
        if line.units_a_cpu_second is not None:
            cells.append(f"{line.units_a_cpu_second:,.0f}")
        rendered.add_row(line.contestant, *cells)
    return rendered


def tables_beside(report: Report) -> list[Table]:
    """Return the tables of what was counted and measured besides what the contestants used."""
    counted = {amount.name: (amount.peer, amount.other, amount.ratio) for amount in report.amounts}
    amounts = [Measures("counted", ("peer", "other", "ratio"), counted)] if counted else []
    return [_table_of(measures) for measures in (*amounts, *report.measures)]


def _table_of(measures: Measures) -> Table:
    rendered = Table()
    rendered.add_column(measures.thing)
    for name in measures.columns:
        rendered.add_column(name, justify="right")
    for name, values in measures.rows.items():
        cells = (_in_digits(column, value) for column, value in zip(measures.columns, values, strict=True))
        rendered.add_row(name, *cells)
    return rendered


def _in_digits(column: str, value: float) -> str:
    digits = 0 if isinstance(value, int) else 2 if column == "ratio" else 1
    return f"{value:,.{digits}f}"


def _in_words(spread: Spread, digits: int) -> str:
    if spread.low == spread.high:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f}–{spread.high:,.{digits}f})"
