"""`pdp alerts`: what was raised, and which channels have taken it.

Only the showing belongs here; raising and sending are the watch sensor's, the log is `platform_core.lake.alerts`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from pdp import arguments, output
from pdp.arguments import AnyDomainName
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.clock import SystemClock


def alerts(
    platform: Platform,
    domain: AnyDomainName = None,
    days: Annotated[float, typer.Option("--days", min=0, help="How far back to look")] = 7.0,
) -> None:
    """Show the alerts of the last days: what happened, where, what to type next, and where it was delivered."""
    from platform_core.lake.alert_log import AlertLog

    name = arguments.domain(platform.catalog, domain).name if domain else None
    logged = AlertLog(platform.lake).read(name, SystemClock().now() - timedelta(days=days))
    rows = [{**asdict(each.alert), "raised_at": each.raised_at, "channels": each.channels} for each in logged]
    output.answer(
        {"alerts": rows},
        output.table(
            rows,
            TableColumn("raised (UTC)", "raised_at"),
            "kind",
            "what",
            TableColumn("next", "command"),
            TableColumn("delivered to", "channels", lambda channels: ", ".join(channels) or "nobody yet"),
        ),
        nothing=f"No alert was raised in the last {days:g} days.",
    )
