"""What is an alert: pure functions from partition states, transitions, freshness and failed runs.

Each alert says what happened, where, and what to type next; its key is the same however often it is seen. Reading
those facts belongs to `watch`, sending to `dispatch`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from platform_core.clock import SystemClock
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.partitions.freshness import Freshness
from platform_core.partitions.partition_meta import Partition, Transition
from platform_core.partitions.partition_state import State

BLOCKING_CHECK = "BlockingCheckFailedError"
"""The error's name as `claim` writes it to a transition's detail."""

MESSAGE = 1500


@dataclass(frozen=True)
class FailedRun:
    """A run that ended in failure.

    Attributes:
        domain: The domain; None when it belongs to none or to several.
        days: The dates that it was to process, sorted; empty for a run without partitions.
        ended_at: When it failed, UTC.
    """

    run_id: str
    job: str
    domain: str | None
    days: tuple[date, ...]
    ended_at: datetime


def dead_alerts(rows: Iterable[Partition], history: Iterable[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each date that is DEAD, or that became so and was revived before anybody looked.

    A row and its transition carry the same time, and so the same key.

    Args:
        rows: partition_meta.
        history: Recent transitions.
        ui_url: Base URL of Dagster's UI.
    """
    rows = list(rows)
    by_date = {(row.domain, row.partition_date): row for row in rows}
    alerts = {}
    for t in history:
        if t.to_status == State.DEAD:
            row = by_date.get((t.domain, t.partition_date))
            alert = _dead(t.domain, t.partition_date, t.at, t.run_id, _detail(t, "cause") or _message(row), ui_url)
            alerts[alert.key] = alert
    for row in rows:
        if row.status is State.DEAD:
            # SQL that sets only the status may leave a row without a time; its key then stays the same for ever.
            at = row.updated_at or row.created_at or datetime(1970, 1, 1, tzinfo=UTC)
            alert = _dead(row.domain, row.partition_date, at, row.run_id, _message(row), ui_url)
            alerts.setdefault(alert.key, alert)
    return list(alerts.values())


def check_alerts(rows: Iterable[Partition], history: Iterable[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each time that a blocking check stopped a date.

    Args:
        rows: partition_meta, whose error message says which check.
        history: Recent transitions.
        ui_url: Base URL of Dagster's UI.
    """
    by_date = {(row.domain, row.partition_date): row for row in rows}
    alerts = []
    for t in history:
        if t.to_status != State.FAILED or _detail(t, "error") != BLOCKING_CHECK:
            continue
        row = by_date.get((t.domain, t.partition_date))
        # Another run may have failed since with a message of its own.
        message = _message(row) if row is not None and row.run_id == t.run_id else ""
        alerts.append(
            Alert(
                key=f"check_failed:{t.domain}:{t.partition_date}:{t.at.isoformat()}",
                kind=AlertKind.CHECK_FAILED,
                domain=t.domain,
                partition_date=t.partition_date,
                what=f"`{t.domain}` {t.partition_date}: a blocking check failed; the warehouse keeps the rows that it"
                f" had. {message}".rstrip(),
                where=_where(t.domain, [t.partition_date], t.run_id, ui_url),
                command=f"pdp partitions show {t.domain} {t.partition_date}",
                at=t.at,
            )
        )
    return alerts


def sla_alerts(of_domains: Iterable[Freshness], ui_url: str) -> list[Alert]:
    """Return an alert for each domain whose due date is missing: one a date, however long it stays missing."""
    return [
        Alert(
            key=f"sla_missed:{f.domain}:{f.due}",
            kind=AlertKind.SLA_MISSED,
            domain=f.domain,
            partition_date=f.due,
            what=f"`{f.domain}` {f.due} is not DONE, and was due at {f.deadline:%Y-%m-%d %H:%M} UTC."
            f" The newest date that is DONE is {f.newest_done or 'none'}.",
            where=_where(f.domain, [f.due], None, ui_url),
            command=f"pdp partitions show {f.domain} {f.due}",
            at=f.deadline,
        )
        for f in of_domains
        if not f.fresh and f.due is not None and f.deadline is not None
    ]


def run_alerts(runs: Iterable[FailedRun], history: Sequence[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each failed run, which names the dates that failed in it, or else all of its dates.

    Args:
        runs: Runs that failed.
        history: Transitions since they began to fail.
        ui_url: Base URL of Dagster's UI.
    """
    alerts = []
    for run in runs:
        failed = sorted({t.partition_date for t in history if t.run_id == run.run_id and t.to_status == State.FAILED})
        of_domain = f" of `{run.domain}`" if run.domain else f" of job `{run.job}`"
        what = f"Run {run.run_id[:8]}{of_domain} failed"
        if failed:
            what += f": {_counted(failed)} of {max(len(run.days), len(failed))} failed, {_listed(failed)}."
        elif run.days:
            what += f"; it was to process {_listed(run.days)}, and no date noted an error of its own."
        else:
            what += "."
        about = failed or list(run.days)
        alerts.append(
            Alert(
                key=f"run_failed:{run.run_id}",
                kind=AlertKind.RUN_FAILED,
                domain=run.domain,
                partition_date=about[0] if len(about) == 1 else None,
                what=what,
                where=_where(run.domain or f"job {run.job}", about, run.run_id, ui_url),
                command=_look_at(run.domain, about),
                at=run.ended_at,
            )
        )
    return alerts


def offset_gap_alert(
    domain: str,
    topic: str,
    partition: int,
    first: int,
    last: int,
    ui_url: str,
    at: datetime | None = None,
    *,
    still_in_kafka: bool = True,
) -> Alert:
    """Return the alert for offsets that Kafka had and Bronze has not.

    Args:
        first: The first missing offset.
        last: The last missing offset, included.
        ui_url: Base URL of Dagster's UI.
        at: When it was found; now by default.
        still_in_kafka: Whether the topic still has them; then the sink can read them again.
    """
    rewind = f"pdp offsets reset --topic {topic} --partition {partition} --to-offset {first}"
    todo = (
        "The topic still has them, until its retention ends: stop every sink, run the command with the sink's"
        " environment, start the sink. It reads on from there and writes new files; Silver drops what comes twice."
        if still_in_kafka
        else "Retention has dropped some or all of them from the topic: produce the records of that time again from"
        " their source; the pipeline takes them as late data."
    )
    return Alert(
        key=f"offset_gap:{topic}:{partition}:{first}-{last}",
        kind=AlertKind.OFFSET_GAP,
        domain=domain,
        partition_date=None,
        what=f"`{domain}`: {last - first + 1} offsets of `{topic}` partition {partition}, {first} to {last}, are"
        f" neither in Bronze nor among the dead letters. {todo}",
        where=f"{domain}, {topic}[{partition}]@{first}-{last}, {ui_url.rstrip('/')}/assets/bronze/{domain}",
        command=rewind if still_in_kafka else "python -m producers --help",
        at=at or SystemClock().now(),
    )


def _dead(domain: str, day: date, at: datetime, run_id: str | None, cause: str, ui_url: str) -> Alert:
    return Alert(
        key=f"dead:{domain}:{day}:{at.isoformat()}",
        kind=AlertKind.DEAD,
        domain=domain,
        partition_date=day,
        what=f"`{domain}` {day} is DEAD: it is not tried again until a person revives it."
        f" {f'Last error: {cause}' if cause else ''}".rstrip(),
        where=_where(domain, [day], run_id, ui_url),
        command=f"pdp partitions revive {domain} {day}",
        at=at,
    )


def _where(about: str, days: Sequence[date | None], run_id: str | None, ui_url: str) -> str:
    base = ui_url.rstrip("/")
    parts = [about, _listed([day for day in days if day is not None])]
    parts += [f"run {run_id}", f"{base}/runs/{run_id}"] if run_id else [f"{base}/assets/snowflake/{about}"]
    return ", ".join(part for part in parts if part)


def _look_at(domain: str | None, days: Sequence[date]) -> str:
    if domain is None:
        return "pdp partitions list"
    if len(days) == 1:
        return f"pdp partitions show {domain} {days[0]}"
    return (
        f"pdp partitions list {domain} --from {min(days)} --to {max(days)}" if days else f"pdp partitions list {domain}"
    )


def _listed(days: Sequence[date]) -> str:
    """Return dates in words; many in a row by their ends."""
    if len(days) > 3 and (days[-1] - days[0]).days == len(days) - 1:
        return f"{days[0]} to {days[-1]}"
    return ", ".join(day.isoformat() for day in days)


def _counted(days: Sequence[date]) -> str:
    return f"{len(days)} date{'s' if len(days) > 1 else ''}"


def _message(row: Partition | None) -> str:
    return ((row.error_message if row else None) or "")[:MESSAGE]


def _detail(transition: Transition, name: str) -> str:
    try:
        detail = json.loads(transition.detail)
    except (TypeError, ValueError):
        return ""
    value = detail.get(name) if isinstance(detail, dict) else None
    return value[:MESSAGE] if isinstance(value, str) else ""
