"""`pdp domains`: which domains run, which cannot and why, and which were removed.

What a mistake in domains.yaml is belongs to `platform_core.domain.catalog`, what is left of a removed one to
`pdp.actions.leftovers`; here it is shown.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from pdp import output
from pdp.environment import Platform
from pdp.output import TableColumn

RUNS, BROKEN, REMOVED = "runs", "broken", "removed"


def domains(
    platform: Platform,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="Also list what no domain of domains.yaml owns: lake, Kafka, warehouse")
    ] = False,
) -> None:
    """Show each domain: whether it runs, what is wrong with its entry, and whether it is only left in the lake.

    Exit code 1: an entry of domains.yaml has a mistake.
    """
    from platform_core.domain.catalog_checks import refuse_unreadable

    catalog = platform.catalog.checked(refuse_unreadable)
    dates = platform.partitions.dates()
    removed = sorted(dates.keys() - {*catalog.names, *catalog.broken})
    rows: list[dict[str, Any]] = [
        *({"domain": name, "state": RUNS, "why": ""} for name in catalog.names),
        *({"domain": name, "state": BROKEN, "why": error} for name, error in catalog.broken.items()),
        *({"domain": name, "state": REMOVED, "why": "no longer in domains.yaml"} for name in removed),
    ]
    rows = [{**row, "dates": dates.get(row["domain"], 0)} for row in rows]
    shown = [output.table(rows, "domain", "state", "dates", TableColumn("what is wrong", "why"))]
    document: dict[str, Any] = {}
    notes: list[str] = []
    if leftovers:
        from pdp.actions.leftovers import find
        from platform_core.domain.catalog import owned_places

        places = owned_places(platform.settings.domains_file)
        known = {*catalog.names, *catalog.broken}
        left, notes = find(platform.settings, platform.lake, places, platform.partitions.rows(), known)
        shown.append(output.table(left, "kind", TableColumn("where", "name"), "holds", title="Left by removed domains"))
        document = {"leftovers": [asdict(each) for each in left]}
    elif removed:
        notes = ["`pdp domains --leftovers` lists what removed domains have left. Nothing is deleted by itself."]
    output.answer(
        {"domains": rows, **document, "notes": notes},
        *shown,
        notes=notes,
        nothing=f"`{platform.settings.domains_file}` has no domain.",
    )
    if catalog.broken:
        raise typer.Exit(1)
