"""`pdp quarantine`: count the rows that a rule refused, look at them, and process their dates again.

Bronze is immutable, so processing a date again after a rule or a Transform was mended is the replay. Writing the
quarantine belongs to the Silver job.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.text import Text

from pdp import arguments, output
from pdp.actions import partition_resets
from pdp.arguments import AnyDayText, DayText, DomainName, FromText, ToText
from pdp.commands import outcomes
from pdp.environment import Platform
from pdp.output import TableColumn
from pdp.registration import Commands
from platform_core.counted import counted
from platform_core.partitions.date_range import DateRange

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from platform_core.domain.catalog import Domain

app = Commands(help="Look at the rows that a rule refused, and replay them.", no_args_is_help=True)

Rule = Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Only rows that broke this rule first")]

DATES_SHOWN = 14
"""Dates that `list` counts when nobody says which: each has files of its own, and a thousand take a second."""

RECORD_SHOWN = 400
"""Characters of a record in a table; --json has all of it."""


@app.command("list")
def list_quarantine(
    platform: Platform,
    domain: DomainName,
    day: AnyDayText = None,
    everything: Annotated[bool, typer.Option("--all", help="Every date, however old")] = False,
) -> None:
    """Count the quarantined rows by date and rule.

    Without a date only those of the newest dates that have some, unless `--all` is given.
    """
    chosen, chosen_day = arguments.domain(platform.catalog, domain), arguments.day(day) if day else None
    table = _table(platform, chosen)
    held = [chosen_day] if chosen_day else _dates(table, chosen)
    newest = held if everything else held[-DATES_SHOWN:]
    left_out = len(held) - len(newest)
    counts = _counts(platform, table, chosen, DateRange(newest[0], newest[-1])) if newest else {}
    rows = [{"date": at, "rule": rule, "rows": count} for (at, rule), count in counts.items()]
    total = sum(counts.values())
    output.answer(
        {"domain": chosen.name, "counts": rows, "rows": total, "left_out": left_out},
        output.table(rows, "date", "rule", "rows"),
        Text(f"{counted(total, 'row')} of {counted(len({at for at, _ in counts}), 'date')}"),
        notes=[f"{counted(left_out, 'older date')} not counted: `--all`, or a date, counts them."] * bool(left_out),
        nothing=f"No row of `{chosen.name}` is in quarantine.",
    )


@app.command()
def show(
    platform: Platform,
    domain: DomainName,
    day: DayText,
    rule: Rule = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show")] = 20,
) -> None:
    """Show quarantined rows of one date: why, where they are in Kafka, and the record."""
    chosen, chosen_day = arguments.domain(platform.catalog, domain), arguments.day(day)
    columns = ["rule", "reason", "topic", "partition", "offset", "kafka_timestamp", "schema_id", "record"]
    read = _read(platform, _table(platform, chosen), chosen, columns, DateRange(chosen_day, chosen_day))
    rows = [row for row in read if rule in (None, row["rule"])]
    rows.sort(key=lambda row: (row["topic"] or "", row["partition"] or 0, row["offset"] or 0))
    shown = [{**row, "record": _parsed(row["record"])} for row in rows[:limit]]
    output.answer(
        {"domain": chosen.name, "date": chosen_day, "total": len(rows), "rows": shown},
        output.table(
            rows[:limit],
            "rule",
            "reason",
            "partition",
            "offset",
            TableColumn("record", show=lambda text: output.first_line(text, RECORD_SHOWN)),
        ),
        Text(f"{len(shown)} of {counted(len(rows), 'row')}, topic {', '.join(sorted({row['topic'] for row in rows}))}"),
        nothing=f"No such row of `{chosen.name}` {chosen_day} is in quarantine.",
    )


@app.command()
def replay(
    platform: Platform,
    domain: DomainName,
    first: FromText = None,
    last: ToText = None,
    rule: Rule = None,
) -> None:
    """Process again the dates that have quarantined rows, after the rule or the Transform was mended."""
    chosen, limits = arguments.domain(platform.catalog, domain), arguments.date_range(first, last)
    table = _table(platform, chosen)
    if rule is None:
        days = {at for at in _dates(table, chosen) if at in limits}
    else:
        days = {at for at, broken in _counts(platform, table, chosen, limits) if broken == rule}
    detail = outcomes.detail("quarantine replay", **({"rule": rule} if rule else {}))
    plan = partition_resets.reset(chosen.name, days, outcomes.rows_by_day(platform, chosen), detail)
    plan = outcomes.guarded(platform, chosen, plan)
    outcomes.finish(platform, plan, f"No such row of `{chosen.name}` is in quarantine: nothing to replay.")


def _table(platform: Platform, domain: Domain) -> DeltaTable | None:
    """Open the domain's quarantine; None when nothing was ever quarantined."""
    return platform.lake.delta_or_none(platform.lake.quarantine(domain))


def _dates(table: DeltaTable | None, domain: Domain) -> list[date]:
    """Return the dates that have quarantined rows, oldest first: the table's log tells them, and no file is opened."""
    values = [] if table is None else [each[domain.partition_key] for each in table.partitions()]
    return sorted(date.fromisoformat(value) for value in values if value is not None)


def _counts(
    platform: Platform, table: DeltaTable | None, domain: Domain, days: DateRange
) -> dict[tuple[date, str], int]:
    key = domain.partition_key
    read = _read(platform, table, domain, [key, "rule"], days)
    return dict(sorted(Counter((row[key], row["rule"]) for row in read).items()))


def _read(
    platform: Platform, table: DeltaTable | None, domain: Domain, columns: Sequence[str], days: DateRange
) -> list[dict[str, Any]]:
    """Return the quarantined rows of some dates."""
    import pyarrow as pa

    from platform_core.lake.delta_rows import rows_of

    if table is None:
        return []
    key = domain.partition_key
    ends = [(key, operator, end) for operator, end in ((">=", days.first), ("<=", days.last)) if end is not None]
    of_files = rows_of(platform.lake, table, *ends).to_table(list(dict.fromkeys([key, *columns])))
    within = pa.array([days.is_open or day in days for day in of_files[key].to_pylist()], pa.bool_())
    return cast("list[dict[str, Any]]", of_files.filter(within).select(columns).to_pylist())


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return text
