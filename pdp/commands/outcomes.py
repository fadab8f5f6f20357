"""What became of the dates that an operator asked for: carried out, shown, and followed by an exit code.

`pdp partitions`, `pdp quarantine replay` and `pdp backfill` share it; what happens to each date is planned by
`pdp.actions.partition_resets`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.actions.partition_resets import ResetOutcome, Verdict
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.partitions.partition_meta import Partition

if TYPE_CHECKING:
    from platform_core.domain.catalog import Domain

VERDICT_STYLES = {Verdict.RESET: "green", Verdict.WAITING: "cyan", Verdict.SKIPPED: "dim", Verdict.REFUSED: "red"}


def rows_by_day(platform: Platform, domain: Domain) -> dict[date, Partition]:
    """Return a domain's rows by date."""
    return {row.partition_date: row for row in platform.partitions.rows(domain.name)}


def guarded(
    platform: Platform, domain: Domain, plan: Sequence[ResetOutcome], *, accept_loss: bool = False
) -> list[ResetOutcome]:
    """Return a plan without the resets that the Bronze of now does not allow."""
    return partition_resets.guard_bronze(
        plan,
        domain.start_date,
        lambda day: row.source_files if (row := platform.partitions.get(domain.name, day)) else (),
        lambda day: [file.name for file in platform.lake.list_date(domain, day)],
        accept_loss=accept_loss,
    )


def detail(cause: str, **more: object) -> dict[str, Any]:
    """Return what the history remembers of an operator's wish: the cause, and who asked."""
    return {"cause": cause, "by": arguments.operator(), **more}


def finish(platform: Platform, plan: Sequence[ResetOutcome], nothing: str) -> None:
    """Carry out a plan, show what happened, and end with 1 if something asked for did not happen.

    Args:
        nothing: What to say of an empty plan.
    """
    done = partition_resets.carry_out(platform.partitions, plan)
    output.answer(document(done), *([table(done)] if done else []))
    for line in (*launches(platform, done), *holders(platform, done)) if done else (nothing,):
        output.note(line)
    if not done or is_refused(done):
        raise typer.Exit(1)


def is_refused(done: Sequence[ResetOutcome]) -> bool:
    """Tell whether something that was asked for did not happen."""
    return any(outcome.verdict is Verdict.REFUSED for outcome in done)


def launches(platform: Platform, done: Sequence[ResetOutcome]) -> Iterator[str]:
    """Yield which sensors launch the dates that were reset, and when."""
    sensors = sorted({f"`discover_{o.domain}`" for o in done if o.verdict in (Verdict.RESET, Verdict.WAITING)})
    if sensors:
        seconds = platform.settings.discovery_interval_seconds
        yield f"The sensor {', '.join(sensors)} launches them on its next tick, within {seconds} s."


def holders(platform: Platform, done: Sequence[ResetOutcome]) -> Iterator[str]:
    """Yield where the runs are that hold dates."""
    for run_id in sorted({o.run_id for o in done if o.verdict is Verdict.REFUSED and o.run_id}):
        yield f"Cancel it here: {platform.settings.ui_url}/runs/{run_id}"


def table(outcomes: Sequence[ResetOutcome]) -> RenderableType:
    """Return what became of dates; neighbours of one fate share a line."""
    return output.table(
        _alike(outcomes),
        TableColumn("domain", lambda group: group[0].domain),
        TableColumn("date", _days),
        TableColumn("was", lambda group: group[0].before),
        TableColumn("outcome", lambda group: group[0].verdict, lambda verdict: Text(verdict, VERDICT_STYLES[verdict])),
        TableColumn("reason", lambda group: group[0].reason),
    )


def document(outcomes: Sequence[ResetOutcome]) -> dict[str, Any]:
    """Return what became of dates: one object a date, and how many had each verdict."""
    return {
        "dates": [{"date": each.day, **output.record(each, "after", without=("day", "change"))} for each in outcomes],
        "summary": Counter(each.verdict.value for each in outcomes),
    }


def _days(group: Sequence[ResetOutcome]) -> Text:
    first, last = group[0].day, group[-1].day
    return Text(f"{first} … {last} ({len(group)})" if first != last else f"{first}", no_wrap=True)


def _alike(outcomes: Sequence[ResetOutcome]) -> list[list[ResetOutcome]]:
    groups: list[list[ResetOutcome]] = []
    for item in outcomes:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last.day + timedelta(days=1) == item.day
            and (last.domain, last.before, last.verdict, last.reason)
            == (item.domain, item.before, item.verdict, item.reason)
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups
