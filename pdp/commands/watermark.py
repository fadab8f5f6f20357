"""`pdp watermark`: up to where each source was read, and setting it to another time.

Only asking and showing belong here; the file and what a position means are `producers.watermark`'s. When to do this
is in docs/operations.md.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pdp import arguments, output
from pdp.arguments import TIME_HELP
from pdp.environment import Platform
from pdp.output import TableColumn
from pdp.registration import Commands

app = Commands(help="Up to where each source was read.", no_args_is_help=True)


@app.command()
def show(platform: Platform) -> None:
    """Show the watermark of each source."""
    from producers.watermark import describe

    states = describe(platform.producer_state, platform.catalog)
    table = output.table(
        states,
        "source",
        TableColumn("read up to (UTC)", "low"),
        TableColumn("held polls", "held_polls"),
        TableColumn("remembered rows", "remembered_rows"),
        TableColumn("saved (UTC)", "saved_at"),
        TableColumn("kept in", "location"),
    )
    kept = "the lake" if platform.settings.state_in_lake else f"`{platform.settings.state_dir}`"
    nothing = f"No source has a watermark in {kept} yet."
    output.answer({"watermarks": states}, table, nothing=nothing)


@app.command()
def reset(
    platform: Platform,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source, see `pdp watermark show`")],
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help=f"{TIME_HELP}; its beginning without")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also forward, so that changes are never read")] = False,
) -> None:
    """Make a stopped producer read its source again from a time on."""
    from producers.watermark import describe, watermarked
    from producers.watermark import reset as set_back

    state = platform.producer_state
    domain = platform.catalog[arguments.one_of("source with a watermark", source, watermarked(platform.catalog))]
    before = next((state.low for state in describe(state, platform.catalog) if state.source == source), None)
    target = arguments.moment(to) if to else None
    set_back(state, domain, target, force=force)
    start, end = (output.moment(at) or "its beginning" for at in (before, target))
    again = "Start the producer again: it sends what changed since; Silver keeps one of what comes twice."
    document = {"source": source, "before": before, "after": target}
    output.answer(document, notes=[f"`{source}`: from {start} to {end}. {again}"])
