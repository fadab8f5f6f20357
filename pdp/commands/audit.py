"""`pdp audit`: the proof that nothing was lost, stage by stage, with what explains each difference.

Only arguments and presentation live here; what is compared belongs to `audit`, whose `run` is imported when the
command runs because it brings the clients of Kafka, Postgres and the warehouse. docs/operations.md says how to read
the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from audit.report import AuditReport, Stage, StageResult
from pdp import arguments, output
from pdp.arguments import DATE_HELP, FromText, ToText
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_core.errors import TransientError

STAGES = [stage.value for stage in Stage]


def audit(
    platform: Platform,
    domains: Annotated[
        list[str] | None, typer.Option("--domain", metavar="DOMAIN", help="Only this; repeatable")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help=f"Only this, repeatable: {', '.join(STAGES)}"),
    ] = None,
    days: Annotated[list[str] | None, typer.Option("--date", metavar="DATE", help=f"One date, {DATE_HELP}")] = None,
    first: FromText = None,
    last: ToText = None,
) -> None:
    """Prove that nothing was lost: reconcile every layer with the next one.

    Exit code 0: everything was looked at and is explained. 1: there are problems. 2: a service did not answer or there
    was nothing to look at, and what could be looked at is without problems. Of single dates, Kafka → Bronze reads their
    files and does not look for missing offsets.
    """
    from audit.run import audit as run

    if days and (len(days) > 1 or first is not None or last is not None):
        raise arguments.ArgumentError(
            "`--date` is one date: give it once and alone, or a range by `--from` and `--to`."
        )
    day = days[0] if days else None
    dates = arguments.date_range(day or first, day or last)
    chosen = [arguments.domain(platform.catalog, name).name for name in domains] if domains else None
    chosen_stages = {Stage(arguments.one_of("stage", name, STAGES)) for name in stages} if stages else None
    began = SystemClock().now()
    with output.progress() as progress:
        report = run(
            platform.settings,
            platform.catalog,
            platform.lake,
            domains=chosen,
            dates=dates,
            stages=chosen_stages,
            progress=progress,
        )
    show(report)
    if chosen is None and chosen_stages is None and dates.is_open:
        _keep(platform, report, began)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _keep(platform: Platform, report: AuditReport, began: datetime) -> None:
    """Keep the outcome of a whole audit where the platform's metrics take it from."""
    from audit import last_audit

    try:
        last_audit.save(platform.lake, report, SystemClock().now(), began_at=began)
    except TransientError as error:
        output.note(f"warning: the outcome was not kept, and the metrics show the audit before. {error}")


def show(report: AuditReport) -> None:
    """Print a report: one line a domain and stage, then what nothing explains, then the verdict."""
    notes = [
        f"not checked: {each.domain}{f' {each.day}' if each.day else ''}, {each.stage.layers}: {each.not_checked}"
        for each in report.not_checked
    ]
    output.answer(report.to_json(), *_shown(report), notes=notes)


def _shown(report: AuditReport) -> Iterator[RenderableType]:
    yield output.table(
        report.summary(),
        "domain",
        TableColumn("stage", lambda result: Text(result.stage.layers, no_wrap=True)),
        TableColumn("", _verdict),
        TableColumn("counts", _counts),
    )
    if report.problems:
        yield output.table(
            report.problems,
            "stage",
            "domain",
            TableColumn("date", "day"),
            TableColumn("kind", show=lambda kind: Text(kind, "red", no_wrap=True)),
            "count",
            "where",
            TableColumn("how it is known", "detail"),
            TableColumn("next", "next_step"),
        )
    if report.clean:
        yield Text(f"✓ every difference is explained ({report.scope})", "green")
        return
    problems = counted(len(report.problems), "problem") if report.problems else "no problem in what was looked at"
    unseen = f", {counted(len(report.not_checked), 'result')} not checked" if report.not_checked else ""
    yield Text(f"✗ {problems}{unseen} (looked at: {report.scope})", "red")


def _verdict(result: StageResult) -> Text:
    if result.problems or (not result.ok and not result.not_checked):
        return Text("✗", style="red")
    return Text("?", style="yellow") if result.not_checked else Text("✓", style="green")


def _counts(result: StageResult) -> str:
    lines = [str(equation) for equation in result.equations]
    shown = {part for equation in result.equations for part in equation.parts}
    more = [f"{reason} {count:,}" for reason, count in result.explained.items() if count and reason not in shown]
    open_ = [f"not compared: {result.not_compared}"] if result.not_compared else []
    return "\n".join([*lines, *([", ".join(more)] if more else []), *open_])
