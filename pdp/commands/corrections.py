"""`pdp corrections`: what each reprocess changed in Gold, and why.

Only the showing belongs here; the ledger is written by the runs and described in `platform_core.lake.corrections`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pdp import arguments, output
from pdp.arguments import AnyDayText, AnyDomainName
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.counted import counted

if TYPE_CHECKING:
    from platform_core.lake.corrections import Correction

REPROCESSES_SHOWN = 14
"""Without a date; one a day would be a thousand tables after three years."""

CHANGE_STYLES = {"inserted": "green", "updated": "yellow", "deleted": "red"}


def corrections(
    platform: Platform,
    domain: AnyDomainName = None,
    day: AnyDayText = None,
    table: Annotated[str | None, typer.Option("--table", metavar="NAME", help="Only this Gold table")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every reprocess, however old")] = False,
) -> None:
    """Show what reprocessing changed in Gold: the rows, their values before and after, and the cause.

    Without a date only of the newest reprocesses, unless `--all` is given.
    """
    from platform_core.lake.corrections import CorrectionLedger

    domains = arguments.domains(platform.catalog, domain)
    chosen_day = arguments.day(day) if day else None
    if table is not None:
        arguments.one_of("Gold table", table, [name for chosen in domains for name in chosen.gold.tables])
    name = domains[0].name if domain else None
    newest = None if everything or chosen_day else REPROCESSES_SHOWN
    read = CorrectionLedger(platform.lake).read(name, chosen_day, newest)
    lines = [line for line in read if table in (None, line.gold_table)]
    ordered = sorted(lines, key=lambda c: (c.at, c.correction_id, c.gold_table, c.key))
    groups = [_document(list(group)) for _, group in groupby(ordered, key=lambda line: line.correction_id)]
    shown = [renderable for group in groups for renderable in _shown(group)]
    notes = [] if groups else ["No reprocess has been recorded: Gold is as it was first written."]
    if newest is not None and len({line.correction_id for line in read}) == newest:
        notes.append(f"These are of the newest {newest} reprocesses: `--all`, or a domain and a date, shows others.")
    output.answer({"corrections": groups}, *shown, notes=notes)


def _document(group: Sequence[Correction]) -> dict[str, Any]:
    per_row = ("gold_table", "change", "key", "before", "after")
    rows = [{name: getattr(line, name) for name in per_row} for line in group]
    for row in rows:
        row.update({name: json.loads(row[name]) if row[name] is not None else None for name in per_row[2:]})
    return {**output.record(group[0], without=per_row), "rows": rows}


def _shown(group: dict[str, Any]) -> Iterator[RenderableType]:
    files = f"+{group['new_files']} −{counted(group['gone_files'], 'file')}"
    yield Text.assemble(
        (f"{group['domain']} {group['partition_date']}", "bold"),
        f", {output.moment(group['at'])} UTC: {group['cause']}, {files}, {group['record_difference']:+,} records",
        (f", run {group['run_id']}", "dim"),
    )
    changed = [row for row in group["rows"] if row["change"] != "none"]
    if changed:
        lines = [line for row in changed for line in _lines(row)]
        style = TableColumn("change", show=lambda change: Text(change, CHANGE_STYLES.get(change, "")))
        yield output.table(lines, "gold_table", style, "key", "column", "before", "after")
    unchanged = [row["gold_table"] for row in group["rows"] if row["change"] == "none"]
    if unchanged:
        yield Text(f"Gold did not change: {', '.join(unchanged)}")
    yield ""


def _lines(row: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Return a line for each column of a row; which row it is, only in the first."""
    before, after = row["before"] or {}, row["after"] or {}
    key = ", ".join(f"{name}={value}" for name, value in row["key"].items())
    of_row = {"gold_table": row["gold_table"], "change": row["change"], "key": key}
    for name in {**before, **after}:
        yield {**of_row, "column": name, "before": _shown_value(before, name), "after": _shown_value(after, name)}
        of_row = dict.fromkeys(of_row, "")


def _shown_value(values: dict[str, Any], name: str) -> str:
    if name not in values:
        return ""
    return "NULL" if values[name] is None else str(values[name])
