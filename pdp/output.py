"""What commands print: one JSON document or tables for people on stdout, notes on stderr.

How things look is decided here, what is shown by each command. Colours follow https://no-color.org.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdp.actions.partitions import Outcome, Verdict
from platform_core.clock import SystemClock
from platform_core.partitions.partition_state import State

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables")]

WIDTH_OF_A_PIPE = 240
"""Columns when nobody looks: nothing is folded, so that `grep` finds whole lines."""

STATUS_STYLES = {
    State.UNDISCOVERED: "dim",
    State.PENDING: "cyan",
    State.IN_FLIGHT: "blue",
    State.DONE: "green",
    State.FAILED: "red",
    State.RETRYING: "yellow",
    State.DEAD: "bold white on red",
    State.LATE: "magenta",
    State.REPROCESSING: "magenta",
}
VERDICT_STYLES = {Verdict.RESET: "green", Verdict.WAITING: "cyan", Verdict.SKIPPED: "dim", Verdict.REFUSED: "red"}


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else WIDTH_OF_A_PIPE
    return Console(stderr=stderr, markup=False, highlight=False, width=width, soft_wrap=False)


def show(*renderables: Any) -> None:
    """Print tables or lines for people on stdout."""
    console = _console(stderr=False)
    for renderable in renderables:
        console.print(renderable)


def document(value: dict[str, Any]) -> None:
    """Print the one JSON document of a command on stdout; dates and times are ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def note(text: str) -> None:
    """Print a line on stderr, where it does not mix with the result."""
    _console(stderr=True).print(Text(text, overflow="fold"))


def notes() -> Console:
    """Return the console of stderr, for something that moves."""
    return _console(stderr=True)


def table(*columns: str, numbers: Iterable[str] = (), title: str | None = None) -> Table:
    """Return an empty table.

    Args:
        *columns: Headings.
        numbers: Those whose values are numbers: to the right, never folded.
        title: A line above it.
    """
    result = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        right = name in set(numbers)
        result.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return result


def status(state: State | str) -> Text:
    """Return a status in its colour."""
    return Text(str(state), style=STATUS_STYLES.get(State(state), "") if state in set(State) else "", no_wrap=True)


def number(value: int | None) -> str:
    """Return a count with thousands separated, empty when it is unknown."""
    return "" if value is None else f"{value:,}"


def moment(value: datetime | None) -> str:
    """Return a UTC time to the second, empty when it is unknown."""
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


def age(value: datetime) -> str:
    """Return how long ago a UTC time is, in the two largest units."""
    seconds = max(int((SystemClock().now() - value).total_seconds()), 0)
    parts = (
        (seconds // 86_400, "d"),
        (seconds % 86_400 // 3600, "h"),
        (seconds % 3600 // 60, "min"),
        (seconds % 60, "s"),
    )
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def first_line(text: str | None, limit: int = 80) -> str:
    """Return the first line of a message, cut."""
    line = (text or "").strip().split("\n", 1)[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Return what became of dates; neighbours of one fate share a line."""
    result = table("domain", "date", "was", "outcome", "reason")
    for group in _alike(outcomes):
        first, last = group[0], group[-1]
        days = first.day.isoformat() + (f" … {last.day.isoformat()} ({len(group)})" if last is not first else "")
        verdict = Text(first.verdict.value, style=VERDICT_STYLES[first.verdict])
        result.add_row(first.domain, Text(days, no_wrap=True), status(first.before), verdict, first.reason)
    return result


def outcome_documents(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return what became of dates, one object a date."""
    return [
        {
            "domain": outcome.domain,
            "date": outcome.day,
            "before": outcome.before,
            "after": outcome.after,
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "run_id": outcome.run_id,
        }
        for outcome in outcomes
    ]


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many dates had each verdict."""
    counts = {verdict.value: sum(o.verdict is verdict for o in outcomes) for verdict in Verdict}
    return {name: count for name, count in counts.items() if count}


def _alike(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    groups: list[list[Outcome]] = []
    for item in outcomes:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last.day + timedelta(days=1) == item.day
            and (last.domain, last.before, last.verdict, last.reason)
            == (item.domain, item.before, item.verdict, item.reason)
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else str(value)
