"""`pdp backfill`: process a range of dates again, and if asked follow it to the end.

What happens to each date is planned in `pdp.actions.partition_resets`; launching the runs belongs to the domain's
sensor, so that a backfill goes through the same queue as everything else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.actions.partition_resets import Verdict
from pdp.arguments import DATE_HELP, DomainName
from pdp.commands import outcomes
from pdp.environment import Platform
from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_core.partitions.partition_state import State

if TYPE_CHECKING:
    from platform_core.domain.catalog import Domain

POLL_SECONDS = 2.0
"""Pause between two looks at partition_meta: one look reads a small table, a run takes longer than this."""

ENDED = frozenset({State.DONE, State.FAILED, State.DEAD})


def backfill(
    platform: Platform,
    domain: DomainName,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help=f"First date, {DATE_HELP}")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help=f"Last date, included, {DATE_HELP}")],
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only dates that are FAILED or DEAD")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until every date is DONE, FAILED or DEAD")] = False,
) -> None:
    """Process again every date of a range that has Bronze files."""
    chosen = arguments.domain(platform.catalog, domain)
    arguments.date_range(first, last)
    start, end = arguments.day(first), arguments.day(last)
    detail = outcomes.detail("backfill", **{"from": start.isoformat(), "to": end.isoformat()})
    rows = outcomes.rows_by_day(platform, chosen)
    bronze = frozenset(platform.lake.list_dates(chosen))
    plan = partition_resets.backfill(chosen.name, start, end, rows, bronze, detail, only_failed=only_failed)
    done = outcomes.guarded(platform, chosen, plan)
    if not dry_run:
        done = partition_resets.carry_out(platform.partitions, done)
    if not output.AS_JSON.get():
        output.answer({}, outcomes.table(done))
    ours = [outcome.day for outcome in done if outcome.verdict in (Verdict.RESET, Verdict.WAITING)]
    if dry_run:
        output.note("Dry run: nothing was changed.")
    else:
        for line in (*outcomes.launches(platform, done), *_not_due(ours, platform)):
            output.note(line)
    for line in outcomes.holders(platform, done):
        output.note(line)
    has_bronze = any(start <= day <= end for day in bronze)
    if not has_bronze:
        output.note(f"Bronze has no file of `{chosen.name}` from {start} to {end}: there is nothing to process.")
    states = _follow(platform, chosen, ours, silent=output.AS_JSON.get()) if wait and ours and not dry_run else {}
    if output.AS_JSON.get():
        final = {day.isoformat(): state for day, state in sorted(states.items())}
        wish = {"domain": chosen.name, "from": start, "to": end, "dry_run": dry_run}
        output.answer({**wish, **outcomes.document(done), "final": final})
    if outcomes.is_refused(done) or not has_bronze or any(state is not State.DONE for state in states.values()):
        raise typer.Exit(1)


def _not_due(days: Collection[date], platform: Platform) -> Iterator[str]:
    from platform_core.partitions.plan import ready_at

    now = SystemClock().now()
    for day in sorted(days):
        at = ready_at(day, platform.settings)
        if at > now:
            yield f"{day} is not over yet: it is processed from {output.moment(at)} UTC on."


def _follow(platform: Platform, domain: Domain, days: Collection[date], *, silent: bool) -> dict[date, State]:
    """Return the state of each date once all have ended; show how many are where, meanwhile."""
    with output.progress(silent=silent, lines=True) as progress:
        while True:
            rows = outcomes.rows_by_day(platform, domain)
            states = {day: rows[day].status if day in rows else State.UNDISCOVERED for day in days}
            counts = Counter(states.values())
            ended = sum(counts[state] for state in ENDED)
            each = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
            progress(f"{ended} of {counted(len(days), 'date')} ended: {each}")
            if ended == len(days):
                break
            time.sleep(POLL_SECONDS)
    for day, state in sorted(states.items()):
        if state is not State.DONE and not silent:
            output.note(f"{day} is {state}: pdp partitions show {domain.name} {day}")
    return states
