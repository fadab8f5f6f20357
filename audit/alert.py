"""A date whose audit found what nothing explains, as the alert that a person gets.

Only the wording lives here; raising it belongs to the run that loaded the date, sending it to `alerting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from platform_core.lake.alerts import Alert, AlertKind


def audit_alert(
    domain: str, day: date, problems: Sequence[Mapping[str, object]], run_id: str, at: datetime, ui_url: str
) -> Alert:
    """Return the alert for a date.

    Args:
        day: The date, which is in the warehouse by then.
        problems: The audit's problems as JSON values.
        run_id: The run that loaded it.
        at: When it was found, UTC.
        ui_url: Base URL of Dagster's UI.
    """
    kinds = ", ".join(f"{problem['stage']} {problem['kind']} {problem['count']}" for problem in problems)
    return Alert(
        key=f"audit:{domain}:{day}:{run_id}",
        kind=AlertKind.CHECK_FAILED,
        domain=domain,
        partition_date=day,
        what=f"`{domain}` {day}: the audit cannot explain every record ({kinds}). The date is loaded.",
        where=f"{domain}, {day}, run {run_id}, {ui_url.rstrip('/')}/runs/{run_id}",
        command=f"pdp audit --domain {domain} --date {day}",
        at=at,
    )
