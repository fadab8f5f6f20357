"""`pdp partitions`: list, show, history, reset, revive.

Reading and showing partitions belongs here, and handing an operator's wish to `pdp.actions.partition_resets`. The
states and their transitions are explained in `docs/operations.md`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.arguments import AnyDayText, AnyDomainName, ArgumentError, DayText, DomainName, FromText, ToText
from pdp.commands import outcomes
from pdp.environment import Platform
from pdp.output import TableColumn
from pdp.registration import Commands
from platform_core.counted import counted
from platform_core.errors import PermanentError
from platform_core.partitions.partition_meta import Partition
from platform_core.partitions.partition_state import State

if TYPE_CHECKING:
    from platform_core.domain.catalog import Domain

app = Commands(help="Look at the partitions' states, reset and revive them.", no_args_is_help=True)

FILES_SHOWN = 5

DATES_SHOWN = 14
"""Dates of a domain that `list` shows when nobody says which: three years of four domains are 4,380 lines."""


@app.command("list")
def list_partitions(
    platform: Platform,
    domain: AnyDomainName = None,
    status: Annotated[list[str] | None, typer.Option("--status", help="Only this status; may be repeated")] = None,
    first: FromText = None,
    last: ToText = None,
    everything: Annotated[bool, typer.Option("--all", help="Every date, however old")] = False,
) -> None:
    """Show one line a date: each that is not DONE, and of the others the newest of each domain unless `--all` is given.

    A status or a range chooses dates by itself. All are counted.
    """
    name = arguments.domain(platform.catalog, domain).name if domain else None
    legal = [state.value for state in State if state is not State.UNDISCOVERED]
    statuses = {State(arguments.one_of("status", text.upper(), legal)) for text in status or ()}
    days = arguments.date_range(first, last)
    snapshot = platform.partitions.snapshot()
    states = {
        key: state
        for key, state in snapshot.states(name).items()
        if key[1] in days and (not statuses or state in statuses)
    }
    summary = Counter(state.value for state in states.values())
    chosen = everything or bool(statuses) or not days.is_open
    keys = states.keys() if chosen else _recent_or_not_done(states)
    shown = [row for row in snapshot.rows(name, {day for _, day in keys}) if (row.domain, row.partition_date) in keys]
    left_out = len(states) - len(shown)
    output.answer(
        {
            "partitions": [output.record(row, without=["source_files"]) for row in shown],
            "summary": summary,
            "left_out": left_out,
        },
        output.table(
            shown,
            "domain",
            TableColumn("date", "partition_date"),
            "status",
            TableColumn("records", "record_count"),
            TableColumn("silver", "silver_records"),
            TableColumn("gold", "gold_records"),
            TableColumn("retries", "retry_count"),
            TableColumn("updated (UTC)", "updated_at"),
            TableColumn("error", "error_message", output.first_line),
        ),
        _summary(len(states), summary),
        notes=[f"{counted(left_out, 'older date')} DONE and not shown: `--all` or `--from` shows them."]
        * bool(left_out),
        nothing=f"No partition matches in {platform.lake.root}.",
    )


def _recent_or_not_done(states: Mapping[tuple[str, date], State]) -> set[tuple[str, date]]:
    """Return the domains and dates that a person looks for."""
    newest = {key for _, of_domain in groupby(states, itemgetter(0)) for key in [*of_domain][-DATES_SHOWN:]}
    return newest | {key for key, state in states.items() if state is not State.DONE}


def _summary(total: int, counts: Counter[str]) -> Text:
    text = Text(f"{counted(total, 'partition')}: ")
    for n, (name, count) in enumerate(sorted(counts.items(), key=lambda item: list(State).index(State(item[0])))):
        text.append(", " if n else "").append(f"{count} ").append_text(output.status(name))
    return text


@app.command()
def show(platform: Platform, domain: DomainName, day: DayText) -> None:
    """Show everything about one date, and what to do next."""
    chosen, chosen_day = arguments.domain(platform.catalog, domain), arguments.day(day)
    row = platform.partitions.get(chosen.name, chosen_day)
    if row is None:
        files = len(platform.lake.list_date(chosen, chosen_day))
        has = f"Bronze has {counted(files, 'file')} of it: discovery makes the row"
        reason = has if files else "Bronze has no file of it"
        output.answer({"partition": None, "bronze_files": files})
        output.note(f"`{chosen.name}` {chosen_day} has no row; {reason}.")
        raise typer.Exit(1)
    advice = _advice(row, chosen, platform)
    lease = {"lease_age": output.age(row.updated_at)} if _is_leased(row) and row.updated_at else {}
    output.answer(
        {"partition": row, "next": advice, **lease},
        output.pairs("column", _columns(row, **lease)),
        *([Text(advice)] if advice else []),
    )


def _columns(row: Partition, lease_age: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in output.record(row).items():
        if name == "source_files":
            yield name, counted(len(value), "file")
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
    from platform_core.partitions.plan import retry_at

    partition = f"{row.domain} {row.partition_date}"
    if _is_leased(row):
        return f"Held by the run {platform.settings.ui_url}/runs/{row.run_id}"
    try:
        now = {file.name for file in platform.lake.list_date(domain, row.partition_date)}
    except PermanentError as error:  # nobody knows which of its files count
        return f"{error.message} The date stays as it is until then."
    if gone := sorted(set(row.source_files) - now):
        accept = f"if their rows are to go, accept the loss: pdp partitions reset {partition} --accept-loss"
        return (
            f"Bronze has lost {counted(len(gone), 'file')}, first `{gone[0]}`. The date keeps what is published and is"
            f" not processed again. Restore them; {accept if now else 'no file is left, so it cannot be reset'}"
        )
    if row.status is State.ILLEGAL:
        return (
            f"It is left alone until its status is a legal one. To process it again: pdp partitions reset {partition}"
        )
    if row.status is State.DEAD:
        after = counted(row.retry_count, "retry", "retries")
        return f"Dead after {after}. Mend the cause, then: pdp partitions revive {partition}"
    if row.status is State.FAILED:
        if row.retry_count < domain.max_retries:
            at = output.moment(retry_at(row, platform.settings))
            return (
                f"Retried by itself after {at} UTC,"
                f" {counted(domain.max_retries - row.retry_count, 'retry', 'retries')} left;"
                f" at once: pdp partitions reset {partition}"
            )
        return f"No retries are left; it becomes DEAD. Mend the cause, then: pdp partitions reset {partition}"
    return None


@app.command()
def history(platform: Platform, domain: DomainName, day: AnyDayText = None) -> None:
    """Show every transition, oldest first."""
    chosen = arguments.domain(platform.catalog, domain)
    lines = platform.partitions.history(chosen.name, arguments.day(day) if day else None)
    rows = [{**output.record(line), "detail": _parsed(line.detail)} for line in lines]
    output.answer(
        {"transitions": rows},
        output.table(
            rows,
            TableColumn("date", "partition_date"),
            TableColumn("at (UTC)", "at"),
            TableColumn("from → to", _step),
            "event",
            TableColumn("run", lambda row: (row["run_id"] or "")[:8]),
            TableColumn("detail", show=lambda detail: output.first_line(_joined(detail), 160)),
        ),
        nothing="There is no transition yet.",
    )


def _step(row: dict[str, Any]) -> Text:
    return Text.assemble(output.status(row["from_status"]), " → ", output.status(row["to_status"]))


@app.command()
def reset(
    platform: Platform,
    domain: DomainName,
    days: Annotated[list[str] | None, typer.Argument(metavar="[DATE]...", help=arguments.DATE_HELP)] = None,
    first: FromText = None,
    last: ToText = None,
    force: Annotated[bool, typer.Option("--force", help="Take dates away from the run that holds them")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Bronze has lost files: their rows leave what is published")
    ] = False,
) -> None:
    """Process dates again: they become PENDING, their retries are counted from zero."""
    chosen = arguments.domain(platform.catalog, domain)
    chosen_days, limits = {arguments.day(text) for text in days or ()}, arguments.date_range(first, last)
    if not chosen_days and limits.is_open:
        raise ArgumentError("Which dates? Name them, or give `--from` and `--to`.")
    rows = outcomes.rows_by_day(platform, chosen)
    if not limits.is_open:
        chosen_days |= {day for day in rows if day in limits}
    plan = outcomes.guarded(
        platform,
        chosen,
        partition_resets.reset(
            chosen.name, chosen_days, rows, outcomes.detail("reset"), force=force, repeat=accept_loss
        ),
        accept_loss=accept_loss,
    )
    outcomes.finish(platform, plan, "There is no row in this range: nothing was reset.")


@app.command()
def revive(
    platform: Platform,
    domain: AnyDomainName = None,
    days: Annotated[list[str] | None, typer.Argument(metavar="[DATE]...", help=arguments.DATE_HELP)] = None,
    everything: Annotated[bool, typer.Option("--all", help="The DEAD dates of every domain")] = False,
) -> None:
    """Give DEAD dates another life, once the cause is mended."""
    if everything == bool(domain):
        raise ArgumentError("Whose dates? Name a domain, or give `--all` for every domain; not both.")
    domains = arguments.domains(platform.catalog, domain)
    chosen_days = [arguments.day(text) for text in days] if days else None
    plan = [
        outcome
        for chosen in domains
        for outcome in outcomes.guarded(
            platform,
            chosen,
            partition_resets.revive(
                chosen.name, chosen_days, outcomes.rows_by_day(platform, chosen), outcomes.detail("revive")
            ),
        )
    ]
    if not plan:
        output.answer(outcomes.document([]))
        output.note("No date is DEAD.")
        return
    outcomes.finish(platform, plan, "")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _joined(detail: object) -> str:
    return ", ".join(f"{name}={value}" for name, value in detail.items()) if isinstance(detail, dict) else str(detail)
