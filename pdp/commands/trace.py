"""`pdp trace`: one record at every stage, from the source's row to the warehouse's.

Only arguments and presentation live here; searching belongs to `audit.trace`, which is imported when
the command runs because it brings the clients of Kafka, Postgres and the warehouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pdp import arguments, output
from pdp.arguments import DATE_HELP
from pdp.environment import Platform

if TYPE_CHECKING:
    from audit.trace import Trace

SHOWN = 160
"""Characters of a value in a table; --json has all of it."""


def trace(
    platform: Platform,
    record: Annotated[str, typer.Argument(metavar="KEY|TOPIC:PARTITION:OFFSET", help="An order, an event, an offset")],
    domain: Annotated[str | None, typer.Option("--domain", metavar="DOMAIN", help="Only in this domain")] = None,
    day: Annotated[str | None, typer.Option("--date", metavar="DATE", help=f"Only in this date, {DATE_HELP}")] = None,
) -> None:
    """Show one record at every stage. Exit code 1: it is nowhere."""
    from audit.trace import trace as search

    traces = search(
        platform.settings,
        platform.catalog,
        platform.lake,
        platform.partitions,
        record,
        domain=arguments.domain(platform.catalog, domain).name if domain else None,
        day=arguments.day(day) if day else None,
    )
    shown = [_table(each) for each in traces if each.is_found] or [_table(each) for each in traces]
    output.answer({"traces": [each.to_json() for each in traces]}, *shown)
    if not any(each.is_found for each in traces):
        raise typer.Exit(1)


def _table(traced: Trace) -> Table:
    lines: list[tuple[str, str | Text]] = []
    for layer in traced.layers:
        if layer.not_looked:
            lines.append((layer.layer, Text(f"not looked at: {layer.not_looked}", "yellow")))
        elif not layer.rows:
            lines.append((layer.layer, Text(f"nothing in {layer.looked_in}", "dim")))
        lines += [(layer.layer, _line(row)) for row in layer.rows]
    return output.pairs("stage", lines, "what it holds", title=f"{traced.domain} {traced.subject}")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(
        f"{name}={output.first_line(str(value), SHOWN)}" for name, value in row.items() if value is not None
    )
