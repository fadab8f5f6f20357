"""`pdp corrections`: what each reprocess changed in Gold, and why.

Only the showing belongs here; the ledger is written by the runs and described in `platform_core.lake.corrections`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output
from pdp.arguments import AnyDayText, AnyDomainName
from pdp.environment import Platform
from pdp.output import Json
from platform_core.lake.corrections import Correction, CorrectionLedger

CHANGE_STYLES = {"inserted": "green", "updated": "yellow", "deleted": "red"}


def corrections(
    ctx: typer.Context,
    domain: AnyDomainName = None,
    day: AnyDayText = None,
    table: Annotated[str | None, typer.Option("--table", metavar="NAME", help="Only this Gold table")] = None,
    as_json: Json = False,
) -> None:
    """Show what reprocessing changed in Gold: the rows, their values before and after, and the cause."""
    platform: Platform = ctx.obj
    domains = [arguments.domain(platform.catalog, domain)] if domain else list(platform.catalog)
    wanted = arguments.day(day) if day else None
    if table is not None:
        arguments.one_of("Gold table", table, [name for found in domains for name in found.gold.tables])
    name = domains[0].name if domain else None
    lines = [line for line in CorrectionLedger(platform.lake).read(name, wanted) if table in (None, line.gold_table)]
    groups = [list(group) for _, group in groupby(_ordered(lines), key=lambda line: line.correction_id)]
    if as_json:
        output.document({"corrections": [_document(group) for group in groups]})
        return
    if not groups:
        output.note("No reprocess has been recorded: Gold is as it was first written.")
        return
    for group in groups:
        _show(group)


def _ordered(lines: Sequence[Correction]) -> list[Correction]:
    return sorted(lines, key=lambda c: (c.at, c.correction_id, c.gold_table, c.key))


def _show(group: Sequence[Correction]) -> None:
    head = group[0]
    files = f"+{head.new_files} −{head.gone_files} files"
    output.show(
        Text.assemble(
            (f"{head.domain} {head.partition_date}", "bold"),
            f", {output.moment(head.at)} UTC: {head.cause}, {files}, {head.record_difference:+,} records",
            (f", run {head.run_id}", "dim"),
        )
    )
    changed = [line for line in group if line.change != "none"]
    if changed:
        table = output.table("gold_table", "change", "key", "column", "before", "after")
        for line in changed:
            for n, (column, before, after) in enumerate(_columns(line)):
                table.add_row(
                    "" if n else line.gold_table,
                    "" if n else Text(line.change, style=CHANGE_STYLES.get(line.change, "")),
                    "" if n else ", ".join(f"{k}={v}" for k, v in json.loads(line.key).items()),
                    column,
                    before,
                    after,
                )
        output.show(table)
    unchanged = [line.gold_table for line in group if line.change == "none"]
    if unchanged:
        output.show(Text(f"Gold did not change: {', '.join(unchanged)}"))
    output.show("")


def _columns(line: Correction) -> Iterator[tuple[str, str, str]]:
    before, after = _values(line.before) or {}, _values(line.after) or {}
    for name in {**before, **after}:
        yield name, _told(before, name), _told(after, name)


def _told(values: dict[str, Any], name: str) -> str:
    if name not in values:
        return ""
    return "NULL" if values[name] is None else str(values[name])


def _values(text: str | None) -> dict[str, Any] | None:
    value: dict[str, Any] | None = json.loads(text) if text is not None else None
    return value


def _document(group: Sequence[Correction]) -> dict[str, Any]:
    common = ("correction_id", "domain", "partition_date", "at", "run_id", "cause", "new_files", "gone_files")
    head = asdict(group[0])
    return {
        **{name: head[name] for name in (*common, "record_difference")},
        "rows": [
            {
                "gold_table": line.gold_table,
                "change": line.change,
                "key": json.loads(line.key),
                "before": _values(line.before),
                "after": _values(line.after),
            }
            for line in group
        ],
    }
