"""`pdp backfill`: process a range of dates again, and if asked follow it to the end.

What happens to each date is planned in `pdp.actions.partition_resets`; launching the runs belongs to the domain's
sensor, so that a backfill goes through the same queue as everything else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from contextlib import nullcontext
from datetime import date
from typing import Annotated

import typer
from rich.status import Status

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.actions.partition_resets import Verdict
from pdp.arguments import DATE_HELP, DomainName
from pdp.commands import partitions
from pdp.environment import Platform
from pdp.output import Json
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Domain
from platform_core.partitions.partition_state import State
from platform_core.partitions.plan import ready_at

POLL_SECONDS = 2.0
"""Pause between two looks at partition_meta: one look reads a small table, a run takes longer than this."""

ENDED = frozenset({State.DONE, State.FAILED, State.DEAD})


def backfill(
    ctx: typer.Context,
    domain: DomainName,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help=f"First date, {DATE_HELP}")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help=f"Last date, included, {DATE_HELP}")],
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only dates that are FAILED or DEAD")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until every date is DONE, FAILED or DEAD")] = False,
    as_json: Json = False,
) -> None:
    """Process again every date of a range that has Bronze files."""
    platform: Platform = ctx.obj
    found = arguments.domain(platform.catalog, domain)
    start, end = arguments.day(first), arguments.day(last)
    arguments.date_range(first, last)
    detail = partitions.detail("backfill", **{"from": start.isoformat(), "to": end.isoformat()})
    rows = partitions.rows_by_day(platform, found)
    bronze = frozenset(platform.lake.list_dates(found))
    done = partition_resets.backfill(found.name, start, end, rows, bronze, detail, only_failed=only_failed)
    if not dry_run:
        done = partition_resets.carry_out(platform.partitions, done)
    if not as_json:
        output.answer(False, {}, output.outcome_table(done))
    ours = [outcome for outcome in done if outcome.verdict in (Verdict.RESET, Verdict.WAITING)]
    if dry_run:
        output.note("Dry run: nothing was changed.")
    elif ours:
        partitions.tell_launch(platform, done)
        _tell_not_due([outcome.day for outcome in ours], platform)
    partitions.tell_held(platform, done)
    if not any(outcome.day in bronze for outcome in done):
        output.note(f"Bronze has no file of `{found.name}` from {start} to {end}: there is nothing to process.")
    states: dict[date, State] = {}
    if wait and ours and not dry_run:
        states = _follow(platform, found, {outcome.day for outcome in ours}, silent=as_json)
    if as_json:
        final = {day.isoformat(): state for day, state in sorted(states.items())}
        wish = {"domain": found.name, "from": start, "to": end, "dry_run": dry_run}
        output.answer(True, {**wish, **output.outcome_document(done), "final": final})
    refused = any(outcome.verdict is Verdict.REFUSED for outcome in done)
    if refused or not bronze & {o.day for o in done} or any(state is not State.DONE for state in states.values()):
        raise typer.Exit(1)


def _tell_not_due(days: Collection[date], platform: Platform) -> None:
    now = SystemClock().now()
    for day in sorted(days):
        at = ready_at(day, platform.settings)
        if at > now:
            output.note(f"{day} is not over yet: it is processed from {output.moment(at)} UTC on.")


def _follow(platform: Platform, domain: Domain, days: Collection[date], *, silent: bool) -> dict[date, State]:
    """Return the state of each date once all have ended; show how many are where, meanwhile."""
    console = output.notes()
    status = console.status("") if console.is_terminal and not silent else nullcontext()
    told = ""
    with status as spinner:
        while True:
            rows = partitions.rows_by_day(platform, domain)
            states = {day: rows[day].status if day in rows else State.UNDISCOVERED for day in days}
            counts = Counter(states.values())
            ended = sum(counts[state] for state in ENDED)
            line = f"{ended} of {len(days)} dates ended: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
            if isinstance(spinner, Status):
                spinner.update(line)
            elif line != told and not silent:
                output.note(line)
            told = line
            if ended == len(days):
                break
            time.sleep(POLL_SECONDS)
    if isinstance(spinner, Status):
        output.note(told)
    for day, state in sorted(states.items()):
        if state is not State.DONE and not silent:
            output.note(f"{day} is {state}: pdp partitions show {domain.name} {day}")
    return states
