"""What commands print: one JSON document or tables for people on stdout, notes on stderr.

How things look is decided here, which of the two is printed, and that nothing in a value steers the terminal; what is
shown is decided by each command.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from operator import itemgetter
from typing import Any

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from platform_core.clock import SystemClock
from platform_core.partitions.partition_state import State

AS_JSON: ContextVar[bool] = ContextVar("as_json", default=False)
"""Whether the command that runs prints JSON."""

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


class _Console(Console):
    """A console on which only the program itself can move the cursor or colour a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else WIDTH_OF_A_PIPE
    return _Console(stderr=stderr, markup=False, highlight=False, width=width, soft_wrap=False)


def printable(text: str) -> str:
    """Return text without anything that steers a terminal, but line breaks."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def answer(document: Mapping[str, Any], *shown: RenderableType, notes: Iterable[str] = (), nothing: str = "") -> None:
    """Print a command's result: the document as JSON on stdout, or what is shown to people, with the notes on stderr.

    Args:
        document: The whole result; of dataclasses JSON has the fields, dates and times are ISO 8601.
        *shown: Tables of the same records, and lines.
        notes: Lines for people, on stderr.
        nothing: The note that replaces everything shown when its tables have no row.
    """
    if AS_JSON.get():
        text = json.dumps(document, indent=2, default=_plain, ensure_ascii=False)
        typer.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))
        return
    tables = [each for each in shown if isinstance(each, Table)]
    if nothing and not any(each.row_count for each in tables):
        shown, notes = (), [nothing]
    console = _console(stderr=False)
    for renderable in shown:
        console.print(renderable)
    for line in notes:
        note(line)


def note(text: str) -> None:
    """Print a line on stderr, where it does not mix with the result."""
    _console(stderr=True).print(Text(text, overflow="fold"))


@contextmanager
def progress(*, silent: bool = False, lines: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield what shows how far something is, on stderr: on a terminal a line that moves.

    Args:
        silent: Show nothing.
        lines: In a pipe show a line for each text that differs from the last one, instead of nothing.
    """
    console = _console(stderr=True)
    shown = ""

    def line(text: str) -> None:
        nonlocal shown
        if lines and not silent and text != shown:
            note(text)
        shown = text

    if silent or not console.is_terminal:
        yield line
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(text))


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    Attributes:
        title: Its heading.
        key: The records' key or attribute, or what finds the value in a record; the title when it is the same.
        show: How a value looks; as `cell` says without it.
    """

    title: str
    key: str | Callable[[Any], Any] = ""
    show: Callable[[Any], RenderableType] | None = None

    def value(self, record: Any) -> Any:
        """Return a record's value."""
        key = self.key or self.title
        if callable(key):
            return key(record)
        return record[key] if isinstance(record, Mapping) else getattr(record, key)


def table(records: Iterable[Any], *columns: TableColumn | str, title: str | None = None) -> Table:
    """Return a table with a line for each record; numbers are to the right and never folded.

    Args:
        records: Mappings or objects, those that the JSON document has too.
        *columns: Columns, or only their titles.
        title: A line above it.
    """
    result = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    shown = [TableColumn(each) if isinstance(each, str) else each for each in columns]
    rows = [[column.value(each) for column in shown] for each in records]
    for n, column in enumerate(shown):
        right = {type(row[n]) for row in rows} - {type(None)} == {int}
        result.add_column(column.title, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        # Escaped before the columns get their widths, so that nothing of it is cut off.
        result.add_row(*(_escaped((column.show or cell)(value)) for column, value in zip(shown, row, strict=True)))
    return result


def pairs(name: str, rows: Iterable[tuple[str, Any]], value: str = "value", *, title: str | None = None) -> Table:
    """Return a table of names and values, of which each looks as its kind does."""
    return table(
        ((first, cell(second)) for first, second in rows),
        TableColumn(name, itemgetter(0)),
        TableColumn(value, itemgetter(1)),
        title=title,
    )


def cell(value: Any) -> RenderableType:
    """Return how a value looks when its column does not say: empty when it is unknown."""
    match value:
        case None:
            return ""
        case State():
            return status(value)
        case bool():
            return str(value)
        case int():
            return number(value)
        case datetime():
            return Text(moment(value), no_wrap=True)
        case date():
            return Text(value.isoformat(), no_wrap=True)
        case list() | tuple():
            return ", ".join(map(str, value))
        case dict():
            return json.dumps(value)
    return value if isinstance(value, Text) else str(value)


def record(value: Any, *properties: str, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass and some of its properties, as the JSON document has them."""
    names = [field.name for field in fields(value) if field.name not in without]
    return {name: getattr(value, name) for name in (*names, *properties)}


def status(state: State | str) -> Text:
    """Return a status in its colour."""
    return Text(str(state), style=STATUS_STYLES.get(State(state), "") if state in set(State) else "", no_wrap=True)


def number(value: int | None) -> str:
    """Return a count with thousands separated, empty when it is unknown."""
    return "" if value is None else f"{value:,}"


def number_or_none(value: int | None) -> str:
    """Return a count, or that there is none."""
    return "none" if value is None else number(value)


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


def _escaped(shown: RenderableType) -> RenderableType:
    if isinstance(shown, Text):
        escaped = printable(shown.plain)
        return shown if escaped == shown.plain else Text(escaped, shown.style, no_wrap=shown.no_wrap)
    return printable(shown) if isinstance(shown, str) else shown


def _plain(value: Any) -> object:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value.isoformat() if isinstance(value, date) else str(value)
