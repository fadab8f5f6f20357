"""`pdp partitions`: list, show, history, reset, revive.

Reading and showing partitions belongs here, and handing an operator's wish to `pdp.actions.partition_resets`. The
states and their transitions are explained in `docs/operations.md`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.actions.partition_resets import ResetOutcome, Verdict
from pdp.arguments import AnyDayText, AnyDomainName, ArgumentError, DayText, DomainName, FromText, ToText
from pdp.environment import Platform
from pdp.output import Column, Json
from platform_core.domain.catalog import Domain
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State
from platform_core.partitions.plan import retry_at

app = typer.Typer(help="Look at the partitions' states, reset and revive them.", no_args_is_help=True)

FILES_SHOWN = 5


@app.command("list")
def list_partitions(
    ctx: typer.Context,
    domain: AnyDomainName = None,
    status: Annotated[list[str] | None, typer.Option("--status", help="Only this status; may be repeated")] = None,
    first: FromText = None,
    last: ToText = None,
    as_json: Json = False,
) -> None:
    """Show one line a date."""
    platform: Platform = ctx.obj
    name = arguments.domain(platform.catalog, domain).name if domain else None
    legal = [state.value for state in State if state is not State.UNDISCOVERED]
    wanted = {State(arguments.one_of("status", text.upper(), legal)) for text in status or ()}
    days = arguments.date_range(first, last)
    rows = [
        row
        for row in platform.partitions.rows(name)
        if row.partition_date in days and (not wanted or row.status in wanted)
    ]
    summary = Counter(row.status.value for row in rows)
    output.answer(
        as_json,
        {"partitions": [output.record(row, without=["source_files"]) for row in rows], "summary": summary},
        output.table(
            rows,
            "domain",
            Column("date", "partition_date"),
            "status",
            Column("records", "record_count"),
            Column("silver", "silver_records"),
            Column("gold", "gold_records"),
            Column("retries", "retry_count"),
            Column("updated (UTC)", "updated_at"),
            Column("error", "error_message", output.first_line),
        ),
        _summary(len(rows), summary),
        nothing=f"No partition matches in {platform.lake.root}.",
    )


def _summary(total: int, counts: Counter[str]) -> Text:
    text = Text(f"{total} partitions: ")
    for n, (name, count) in enumerate(sorted(counts.items(), key=lambda item: list(State).index(State(item[0])))):
        text.append(", " if n else "").append(f"{count} ").append_text(output.status(name))
    return text


@app.command()
def show(ctx: typer.Context, domain: DomainName, day: DayText, as_json: Json = False) -> None:
    """Show everything about one date, and what to do next."""
    platform: Platform = ctx.obj
    found, wanted = arguments.domain(platform.catalog, domain), arguments.day(day)
    row = platform.partitions.get(found.name, wanted)
    if row is None:
        files = len(platform.lake.list_date(found, wanted))
        reason = f"Bronze has {files} files of it: discovery makes the row" if files else "Bronze has no file of it"
        output.answer(as_json, {"partition": None, "bronze_files": files})
        output.note(f"`{found.name}` {wanted} has no row; {reason}.")
        raise typer.Exit(1)
    advice = _advice(row, found, platform)
    lease = {"lease_age": output.age(row.updated_at)} if _is_leased(row) and row.updated_at else {}
    output.answer(
        as_json,
        {"partition": row, "next": advice, **lease},
        output.pairs("column", _columns(row, **lease)),
        *([Text(advice)] if advice else []),
    )


def _columns(row: Partition, lease_age: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in output.record(row).items():
        if name == "source_files":
            yield name, f"{len(value)} files"
            more = [f"… and {len(value) - FILES_SHOWN} more (--json has all)"] if len(value) > FILES_SHOWN else []
            yield from (("", Text(line, "dim")) for line in (*value[:FILES_SHOWN], *more))
        elif isinstance(value, datetime):
            lease = f"; the lease was renewed {lease_age} ago" if name == "updated_at" and lease_age else ""
            yield name, f"{output.moment(value)} UTC{lease}"
        else:
            yield name, value


def _is_leased(row: Partition) -> bool:
    return row.status is State.IN_FLIGHT


def _advice(row: Partition, domain: Domain, platform: Platform) -> str | None:
    """Return what to do about a date that is in trouble or held, None when nothing is to be done."""
    where = f"{row.domain} {row.partition_date}"
    if row.status is State.DEAD:
        return f"Dead after {row.retry_count} retries. Mend the cause, then: pdp partitions revive {where}"
    if row.status is State.FAILED:
        if row.retry_count < domain.max_retries:
            at = output.moment(retry_at(row, platform.settings))
            return (
                f"Retried by itself after {at} UTC, {domain.max_retries - row.retry_count} retries left;"
                f" at once: pdp partitions reset {where}"
            )
        return f"No retries are left; it becomes DEAD. Mend the cause, then: pdp partitions reset {where}"
    if _is_leased(row):
        return f"Held by the run {platform.settings.ui_url}/runs/{row.run_id}"
    return None


@app.command()
def history(ctx: typer.Context, domain: DomainName, day: AnyDayText = None, as_json: Json = False) -> None:
    """Show every transition, oldest first."""
    platform: Platform = ctx.obj
    found = arguments.domain(platform.catalog, domain)
    lines = platform.partitions.history(found.name, arguments.day(day) if day else None)
    rows = [{**output.record(line), "detail": _parsed(line.detail)} for line in lines]
    output.answer(
        as_json,
        {"transitions": rows},
        output.table(
            rows,
            Column("date", "partition_date"),
            Column("at (UTC)", "at"),
            Column("from → to", _step),
            "event",
            Column("run", lambda row: (row["run_id"] or "")[:8]),
            Column("detail", show=lambda detail: output.first_line(_told(detail), 160)),
        ),
        nothing="There is no transition yet.",
    )


def _step(row: dict[str, Any]) -> Text:
    return Text.assemble(output.status(row["from_status"]), " → ", output.status(row["to_status"]))


@app.command()
def reset(
    ctx: typer.Context,
    domain: DomainName,
    days: Annotated[list[str] | None, typer.Argument(metavar="[DATE]...", help=arguments.DATE_HELP)] = None,
    first: FromText = None,
    last: ToText = None,
    force: Annotated[bool, typer.Option("--force", help="Take dates away from the run that holds them")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Bronze has lost files: their rows leave what is published")
    ] = False,
    as_json: Json = False,
) -> None:
    """Process dates again: they become PENDING, their retries are counted from zero."""
    platform: Platform = ctx.obj
    found = arguments.domain(platform.catalog, domain)
    wanted, limits = {arguments.day(text) for text in days or ()}, arguments.date_range(first, last)
    if not wanted and limits.is_open:
        raise ArgumentError("Which dates? Name them, or give `--from` and `--to`.")
    rows = rows_by_day(platform, found)
    if not limits.is_open:
        wanted |= {day for day in rows if day in limits}
    plan = guarded(
        platform,
        found,
        partition_resets.reset(found.name, wanted, rows, detail("reset"), force=force, repeat=accept_loss),
        accept_loss=accept_loss,
    )
    finish(platform, plan, as_json, "There is no row in this range: nothing was reset.")


@app.command()
def revive(
    ctx: typer.Context,
    domain: AnyDomainName = None,
    days: Annotated[list[str] | None, typer.Argument(metavar="[DATE]...", help=arguments.DATE_HELP)] = None,
    everything: Annotated[bool, typer.Option("--all", help="The DEAD dates of every domain")] = False,
    as_json: Json = False,
) -> None:
    """Give DEAD dates another life, once the cause is mended."""
    platform: Platform = ctx.obj
    if everything == bool(domain):
        raise ArgumentError("Whose dates? Name a domain, or give `--all` for every domain; not both.")
    domains = arguments.domains(platform.catalog, domain)
    wanted = [arguments.day(text) for text in days] if days else None
    plan = [
        outcome
        for found in domains
        for outcome in guarded(
            platform, found, partition_resets.revive(found.name, wanted, rows_by_day(platform, found), detail("revive"))
        )
    ]
    if not plan:
        output.answer(as_json, output.outcome_document([]))
        output.note("No date is DEAD.")
        return
    finish(platform, plan, as_json, "")


def guarded(
    platform: Platform, domain: Domain, plan: Sequence[ResetOutcome], *, accept_loss: bool = False
) -> list[ResetOutcome]:
    """Return a plan without the resets that the Bronze of now does not allow."""

    def pinned(day: date) -> Sequence[str]:
        row = platform.partitions.get(domain.name, day)
        return row.source_files if row else ()

    def listed(day: date) -> Sequence[str]:
        return [file.name for file in platform.lake.list_date(domain, day)]

    return partition_resets.guard_bronze(plan, domain.start_date, pinned, listed, accept_loss=accept_loss)


def rows_by_day(platform: Platform, domain: Domain) -> dict[date, Partition]:
    """Return a domain's rows by date."""
    return {row.partition_date: row for row in platform.partitions.rows(domain.name)}


def detail(cause: str, **more: object) -> dict[str, Any]:
    """Return what the history remembers of an operator's wish: the cause, and who asked."""
    return {"cause": cause, "by": arguments.operator(), **more}


def finish(platform: Platform, plan: Sequence[ResetOutcome], as_json: bool, nothing: str) -> None:
    """Carry out a plan, show what happened, and end with 1 if something asked for did not happen.

    Args:
        nothing: What to say of an empty plan.
    """
    done = partition_resets.carry_out(platform.partitions, plan)
    output.answer(as_json, output.outcome_document(done), *([output.outcome_table(done)] if done else []))
    if not done:
        output.note(nothing)
    tell_launch(platform, done)
    tell_held(platform, done)
    if not done or any(outcome.verdict is Verdict.REFUSED for outcome in done):
        raise typer.Exit(1)


def tell_launch(platform: Platform, done: Sequence[ResetOutcome]) -> None:
    """Say which sensors launch the dates that were reset, and when."""
    sensors = sorted({f"`discover_{o.domain}`" for o in done if o.verdict in (Verdict.RESET, Verdict.WAITING)})
    if sensors:
        seconds = platform.settings.discovery_interval_seconds
        output.note(f"The sensor {', '.join(sensors)} launches them on its next tick, within {seconds} s.")


def tell_held(platform: Platform, done: Sequence[ResetOutcome]) -> None:
    """Say where the runs are that hold dates."""
    runs = sorted({o.run_id for o in done if o.verdict is Verdict.REFUSED and o.run_id})
    for run_id in runs:
        output.note(f"Cancel it here: {platform.settings.ui_url}/runs/{run_id}")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _told(detail: object) -> str:
    return ", ".join(f"{name}={told}" for name, told in detail.items()) if isinstance(detail, dict) else str(detail)
