"""`pdp audit`: the proof that nothing was lost, stage by stage, with what explains each difference.

Only arguments and presentation live here; what is compared belongs to `audit`, whose `run` is imported when the
command runs because it brings the clients of Kafka, Postgres and the warehouse. docs/operations.md says how to read
the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.text import Text

from audit.report import AuditReport, Stage, StageResult
from pdp import arguments, output
from pdp.arguments import DATE_HELP, FromText, ToText
from pdp.environment import Platform
from pdp.output import Json

STAGES = [stage.value for stage in Stage]


def audit(
    ctx: typer.Context,
    domains: Annotated[
        list[str] | None, typer.Option("--domain", metavar="DOMAIN", help="Only this; repeatable")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help=f"Only this, repeatable: {', '.join(STAGES)}"),
    ] = None,
    day: Annotated[str | None, typer.Option("--date", metavar="DATE", help=f"One date, {DATE_HELP}")] = None,
    first: FromText = None,
    last: ToText = None,
    as_json: Json = False,
) -> None:
    """Prove that nothing was lost: reconcile every layer with the next one.

    Exit code 0: everything was looked at and is explained. 1: there are problems. 2: a service did not answer, and
    what could be looked at is without problems. Kafka → Bronze has no dates and is always looked at as a whole.
    """
    from audit.run import audit as run

    platform: Platform = ctx.obj
    if day is not None and (first is not None or last is not None):
        raise arguments.ArgumentError("`--date` is one date: leave out `--from` and `--to`.")
    dates = arguments.date_range(day or first, day or last)
    chosen = [arguments.domain(platform.catalog, name).name for name in domains] if domains else None
    wanted = {Stage(arguments.one_of("stage", name, STAGES)) for name in stages} if stages else None
    with _progress() as tell:
        report = run(
            platform.settings,
            platform.catalog,
            platform.lake,
            domains=chosen,
            dates=dates,
            stages=wanted,
            progress=tell,
        )
    if as_json:
        output.document(report.to_json())
    else:
        show(report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is looked at; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with output.notes().status("audit") as status:
        yield lambda text: status.update(Text(text))


def show(report: AuditReport) -> None:
    """Print a report: one line a domain and stage, then what nothing explains."""
    table = output.table("domain", "stage", "", "counts")
    for result in report.summary():
        table.add_row(result.domain, Text(result.stage.layers, no_wrap=True), _verdict(result), _counts(result))
    output.show(table)
    if report.problems:
        problems = output.table(
            "stage", "domain", "date", "kind", "count", "where", "how it is known", "next", numbers=("count",)
        )
        for problem in report.problems:
            problems.add_row(
                problem.stage.value,
                problem.domain,
                Text(problem.day.isoformat() if problem.day else "", no_wrap=True),
                Text(problem.kind.value, style="red", no_wrap=True),
                output.number(problem.count),
                problem.where,
                problem.detail,
                problem.next_step,
            )
        output.show(problems)
    for result in report.not_checked:
        at = f" {result.day}" if result.day else ""
        output.note(f"not checked: {result.domain}{at}, {result.stage.layers}: {result.not_checked}")
    if report.clean:
        output.show(Text("✓ every difference is explained", style="green"))
    else:
        kinds = (
            f"{count} problem{'' if count == 1 else 's'}"
            if (count := len(report.problems))
            else "no problem in what was looked at"
        )
        unseen = f", {len(report.not_checked)} results not checked" if report.not_checked else ""
        output.show(Text(f"✗ {kinds}{unseen}", style="red"))


def _verdict(result: StageResult) -> Text:
    if result.problems or (not result.ok and not result.not_checked):
        return Text("✗", style="red")
    return Text("?", style="yellow") if result.not_checked else Text("✓", style="green")


def _counts(result: StageResult) -> str:
    lines = [str(equation) for equation in result.equations]
    shown = {part for equation in result.equations for part in equation.parts}
    more = [f"{reason} {count:,}" for reason, count in result.explained.items() if count and reason not in shown]
    return "\n".join([*lines, *([", ".join(more)] if more else [])])
