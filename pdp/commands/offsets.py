"""`pdp offsets reset`: set the stopped sink's committed offsets, back as a rule.

Only asking and showing belong here; what a move means, and when it is refused, is decided in
`pdp.actions.group_offsets`. When to do this is in docs/operations.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pdp import arguments, output
from pdp.arguments import TIME_HELP, AnyDomainName, ArgumentError
from pdp.environment import Platform
from pdp.output import TableColumn
from pdp.registration import Commands
from platform_kafka.topics import SINK_GROUP

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog

app = Commands(help="Set the stopped sink's committed offsets.", no_args_is_help=True)


@app.callback()
def offsets() -> None:
    """Set the stopped sink's committed offsets."""


@app.command()
def reset(
    platform: Platform,
    domain: AnyDomainName = None,
    topic: Annotated[str | None, typer.Option("--topic", metavar="T", help="A raw topic, instead of a domain")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every domain")] = False,
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition")] = None,
    to_earliest: Annotated[bool, typer.Option("--to-earliest", help="To the first record that Kafka keeps")] = False,
    to_datetime: Annotated[
        str | None, typer.Option("--to-datetime", metavar="TIME", help=f"To the first record since: {TIME_HELP}")
    ] = None,
    to_offset: Annotated[int | None, typer.Option("--to-offset", min=0, help="To this offset")] = None,
    allow_skip: Annotated[
        bool, typer.Option("--allow-skip", help="Also go forward, so that records are never read")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing")] = False,
) -> None:
    """Make the sink read again from another offset; refused while a sink runs."""
    from pdp.actions import group_offsets
    from platform_kafka.reader import OperatorKafka

    names = _topics(platform.catalog, domain, topic, every)
    targets: list[group_offsets.Target] = ["earliest"] if to_earliest else []
    targets += [arguments.moment(to_datetime)] if to_datetime is not None else []
    targets += [to_offset] if to_offset is not None else []
    if len(targets) != 1:
        raise ArgumentError("Say where to: one of `--to-earliest`, `--to-datetime` and `--to-offset`.")
    with OperatorKafka(platform.settings) as kafka:
        partitions = [tp for name in names for tp in kafka.partitions(name) if partition in (None, tp[1])]
        if not partitions:
            raise ArgumentError(f"No partition {partition} in {arguments.quoted(names)}.")
        if to_offset is not None and len(partitions) > 1:
            raise ArgumentError(f"`--to-offset` is for one partition, these are {len(partitions)}. Add `--partition`.")
        moves = group_offsets.plan(kafka, partitions, targets[0])
        if not dry_run:
            group_offsets.move(kafka, moves, allow_skip=allow_skip)
        members = len(kafka.group(SINK_GROUP).members) if dry_run else 0
    notes = []
    if dry_run:
        notes.append("Dry run: nothing was changed." + (" It is refused while a sink runs." if members else ""))
        if any(m.skipped for m in moves) and not allow_skip:
            notes.append("Going forward needs `--allow-skip`: the skipped records would never be read.")
    elif all(m.before == m.after for m in moves):
        notes.append("The offsets were there already.")
    else:
        notes.append("Start the sink again: it reads on from there. Silver keeps one of what comes twice.")
    rows = [output.record(m, "again", "skipped") for m in moves]
    before = TableColumn("before", show=output.number_or_none)
    output.answer(
        {"group": SINK_GROUP, "dry_run": dry_run, "members": members, "partitions": rows},
        output.table(rows, "topic", "partition", before, "after", TableColumn("read again", "again"), "skipped"),
        notes=notes,
    )


def _topics(catalog: Catalog, domain: str | None, topic: str | None, every: bool) -> list[str]:
    if [domain is not None, topic is not None, every].count(True) != 1:
        raise ArgumentError("Say what: one of DOMAIN, `--topic` and `--all`.")
    raw = [each.topic.name for each in catalog]
    if domain is not None:
        return [arguments.domain(catalog, domain).topic.name]
    return raw if topic is None else [arguments.one_of("raw topic", topic, raw)]
