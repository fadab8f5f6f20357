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

from benchmarks.frame import Amount, Case
from benchmarks.machine import Circumstances
from benchmarks.summary import Line, Spread

MEBIBYTE = 2**20


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
    """

    case: str
    title: str
    size: str
    unit: str
    lines: Sequence[Line]
    circumstances: Circumstances
    amounts: Sequence[Amount] = ()


def report_of(case: Case, lines: Sequence[Line], circumstances: Circumstances) -> Report:
    """Return what is known of a case that was run."""
    return Report(case.name, case.title, case.size, case.unit, lines, circumstances, case.amounts)


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


def amounts_table(report: Report) -> Table:
    """Return the table of what was counted."""
    rendered = Table()
    rendered.add_column("counted")
    for name in ("peer", "other", "ratio"):
        rendered.add_column(name, justify="right")
    for amount in report.amounts:
        rendered.add_row(amount.name, f"{amount.peer:,.1f}", f"{amount.other:,.1f}", f"{amount.ratio:.2f}")
    return rendered


def _in_words(spread: Spread, digits: int) -> str:
    if spread.low == spread.high:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f}–{spread.high:,.{digits}f})"
