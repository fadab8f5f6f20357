"""`pdp domains`: which domains run, which cannot and why, and which were removed.

What a mistake in domains.yaml is belongs to `platform_core.domain.catalog`; here it is shown.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer

from pdp import output
from pdp.environment import Platform
from pdp.output import Json, TableColumn

RUNS, BROKEN, REMOVED = "runs", "broken", "removed"


def domains(ctx: typer.Context, as_json: Json = False) -> None:
    """Show each domain: whether it runs, what is wrong with its entry, and whether it is only left in the lake.

    Exit code 1: an entry of domains.yaml has a mistake.
    """
    from platform_core.domain.catalog_checks import refuse_unreadable

    platform: Platform = ctx.obj
    catalog = platform.catalog.checked(refuse_unreadable)
    dates = Counter(row.domain for row in platform.partitions.rows())
    removed = sorted(dates.keys() - {*catalog.names, *catalog.broken})
    rows: list[dict[str, Any]] = [
        *({"domain": name, "state": RUNS, "why": ""} for name in catalog.names),
        *({"domain": name, "state": BROKEN, "why": error} for name, error in catalog.broken.items()),
        *({"domain": name, "state": REMOVED, "why": "no longer in domains.yaml"} for name in removed),
    ]
    rows = [{**row, "dates": dates[row["domain"]]} for row in rows]
    output.answer(
        as_json,
        {"domains": rows},
        output.table(rows, "domain", "state", "dates", TableColumn("what is wrong", "why")),
        nothing=f"`{platform.settings.domains_file}` has no domain.",
    )
    if catalog.broken:
        raise typer.Exit(1)
