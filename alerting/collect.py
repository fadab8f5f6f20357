"""What is an alert: pure functions from partition states, transitions, freshness and failed runs.

Each alert says what happened, where, and what to type next; its key is the same however often it is seen. Reading
those facts belongs to `watch`, sending to `dispatch`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from platform_core.counted import counted
from platform_core.lake.alerts import Alert, AlertKind
from platform_core.partitions.freshness import Freshness
from platform_core.partitions.partition_meta import UNEXPLAINED, Partition, Transition
from platform_core.partitions.partition_state import State

if TYPE_CHECKING:
    from audit.offset_coverage.state import Gap

BLOCKING_CHECK = "BlockingCheckFailedError"
"""The error's name as `claim` writes it to a transition's detail."""

OUTAGE = "ServiceDownError"
"""The error's name as a run's step fails with when a service is down before any date was claimed."""

MESSAGE = 1500

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FailedRun:
    """A run that ended in failure.

    Attributes:
        domain: The domain; None when it belongs to none or to several.
        days: The dates that it was to process, sorted; empty for a run without partitions.
        ended_at: When it failed, UTC.
        error: What failed outside of any date, for example that the engine is down; empty when nobody knows.
    """

    run_id: str
    job: str
    domain: str | None
    days: tuple[date, ...]
    ended_at: datetime
    error: str = ""


def dead_alerts(rows: Iterable[Partition], history: Iterable[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each date that is DEAD, or that became so and was revived before anybody looked.

    A row and its transition carry the same time, and so the same key.

    Args:
        rows: partition_meta.
        history: Recent transitions.
        ui_url: Base URL of Dagster's UI.
    """
    by_date = {(row.domain, row.partition_date): row for row in rows}
    died = [
        (t.domain, t.partition_date, t.at, t.run_id, _detail(t, "cause") or _message(by_date, t))
        for t in history
        if t.to_status == State.DEAD
    ]
    died += [
        # SQL that sets only the status may leave a row without a time; its key then stays the same for ever.
        (row.domain, row.partition_date, row.updated_at or row.created_at or EPOCH, row.run_id, row.error_message or "")
        for row in by_date.values()
        if row.status is State.DEAD
    ]
    alerts: dict[str, Alert] = {}
    for domain, day, at, run_id, cause in died:
        last_error = f" Last error: {cause[:MESSAGE]}" if cause else ""
        what = f"`{domain}` {day} is DEAD: it is not tried again until a person revives it.{last_error}"
        command, key = f"pdp partitions revive {domain} {day}", f"{domain}:{day}:{at.isoformat()}"
        alert = _alert(AlertKind.DEAD, key, what, command, at, ui_url, domain, [day], run_id)
        alerts.setdefault(alert.key, alert)
    return list(alerts.values())


def illegal_alerts(rows: Iterable[Partition], ui_url: str) -> list[Alert]:
    """Return an alert for each date whose status somebody set to none of the legal ones; all others go on."""
    alerts = []
    for row in rows:
        if row.status is State.ILLEGAL:
            domain, day = row.domain, row.partition_date
            at = row.updated_at or row.created_at or EPOCH
            what = f"`{domain}` {day} is left alone. {row.error_message or ''}"
            key, command = f"{domain}:{day}:{at.isoformat()}", f"pdp partitions reset {domain} {day}"
            alerts.append(_alert(AlertKind.ILLEGAL_STATUS, key, what, command, at, ui_url, domain, [day]))
    return alerts


def check_alerts(rows: Iterable[Partition], history: Iterable[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each time that a blocking check stopped a date, or that its audit found it unexplained.

    Args:
        rows: partition_meta, whose error message says which check.
        history: Recent transitions.
        ui_url: Base URL of Dagster's UI.
    """
    by_date = {(row.domain, row.partition_date): row for row in rows}
    alerts = []
    for t in history:
        domain, day, unexplained = t.domain, t.partition_date, _detail(t, UNEXPLAINED)
        what, command = f"`{domain}` {day}", _look_at(domain, [day])
        if unexplained:
            what += f": the audit cannot explain every record ({unexplained}). The date is loaded."
            command = f"pdp audit --domain {domain} --date {day}"
        elif t.to_status == State.FAILED and _detail(t, "error") == BLOCKING_CHECK:
            what += ": a blocking check failed; the warehouse keeps the rows that it had."
            what = f"{what} {_message(by_date, t, same_run=True)}".rstrip()
        else:
            continue
        kind, key = AlertKind.CHECK_FAILED, f"{domain}:{day}:{t.at.isoformat()}"
        alerts.append(_alert(kind, key, what, command, t.at, ui_url, domain, [day], t.run_id))
    return alerts


def sla_alerts(of_domains: Iterable[Freshness], ui_url: str) -> list[Alert]:
    """Return an alert for each domain whose due date is missing: one a date, however long it stays missing."""
    alerts = []
    for f in of_domains:
        if f.fresh or f.due is None or f.deadline is None:
            continue
        what = (
            f"`{f.domain}` {f.due} is not DONE, and was due at {f.deadline:%Y-%m-%d %H:%M} UTC."
            f" The newest date that is DONE is {f.newest_done or 'none'}."
        )
        key, command = f"{f.domain}:{f.due}", _look_at(f.domain, [f.due])
        alerts.append(_alert(AlertKind.SLA_MISSED, key, what, command, f.deadline, ui_url, f.domain, [f.due]))
    return alerts


def run_alerts(runs: Iterable[FailedRun], history: Sequence[Transition], ui_url: str) -> list[Alert]:
    """Return an alert for each failed run, which names the dates that failed in it, or else all of its dates.

    Args:
        runs: Runs that failed.
        history: Transitions since they began to fail.
        ui_url: Base URL of Dagster's UI.
    """
    alerts = []
    for run in runs:
        of_run = [t for t in history if t.run_id == run.run_id and t.to_status == State.FAILED]
        failed = sorted({t.partition_date for t in of_run})
        of_domain = f" of `{run.domain}`" if run.domain else f" of job `{run.job}`"
        what, key = f"Run {run.run_id[:8]}{of_domain} failed", run.run_id
        outages = {_detail(t, "error") for t in of_run if _detail(t, "service_down")}
        if failed:
            dates = f"{len(failed)} date{'s' if len(failed) > 1 else ''}"
            what += f": {dates} of {max(len(run.days), len(failed))} failed, {_dates(failed)}."
        elif run.days:
            what += (
                f"; it was to process {_dates(run.days)}, and no date noted an error of its own. {run.error}".rstrip()
            )
        else:
            what += f". {run.error}".rstrip()
        if outages or (OUTAGE in run.error and not failed):
            # The runs of all domains meet the same outage, and new ones are launched while it lasts: once a UTC day.
            cause = ", ".join(sorted(outages)) or hashlib.sha256(run.error.encode()).hexdigest()[:16]
            key = f"{cause}:{run.ended_at:%Y-%m-%d}"
        days = failed or list(run.days)
        command, at = _look_at(run.domain, days), run.ended_at
        kind, about = AlertKind.RUN_FAILED, run.domain
        alerts.append(_alert(kind, key, what, command, at, ui_url, about, days, run.run_id, run.job))
    return alerts


def broken_domain_alerts(broken: Mapping[str, str], now: datetime, ui_url: str) -> list[Alert]:
    """Return an alert for each domain whose entry has a mistake: one a UTC day while it stays.

    Args:
        broken: What is wrong, by domain.
    """
    return [
        Alert(
            key=f"domain_broken:{name}:{hashlib.sha256(error.encode()).hexdigest()[:16]}:{now:%Y-%m-%d}",
            kind=AlertKind.DOMAIN_BROKEN,
            domain=name,
            partition_date=None,
            what=f"`{name}` does not run, the other domains do: {error[:MESSAGE]} What it has stays as it is, and its"
            " records wait in Kafka until the topic's retention ends.",
            where=f"{name}, domains.yaml, {ui_url.rstrip('/')}/assets/platform/domains",
            command="pdp domains",
            at=now,
        )
        for name, error in broken.items()
    ]


def removed_domain_alerts(known: Collection[str], rows: Iterable[Partition], ui_url: str) -> list[Alert]:
    """Return an alert for each domain that has partitions and is no longer in domains.yaml.

    Args:
        known: The names in domains.yaml, those with a mistake included.
        rows: partition_meta.
    """
    removed: dict[str, list[datetime]] = {}
    for row in rows:
        if row.domain not in known:
            removed.setdefault(row.domain, []).append(row.updated_at or row.created_at or EPOCH)
    return [
        Alert(
            key=f"domain_removed:{name}:{max(changed):%Y-%m-%dT%H:%M:%S}",
            kind=AlertKind.DOMAIN_REMOVED,
            domain=name,
            partition_date=None,
            what=f"`{name}` is no longer in domains.yaml, and {len(changed)} dates of it are left, with all that was"
            " made of them. Nothing is deleted by itself. Put the entry back, or remove what `pdp domains` lists.",
            where=f"{name}, domains.yaml, {ui_url.rstrip('/')}/assets",
            command="pdp domains",
            at=max(changed),
        )
        for name, changed in removed.items()
    ]


def failing_sensor_alert(name: str, since: datetime, error: str, ui_url: str) -> Alert:
    """Return the alert for a sensor or schedule of which every tick fails.

    Args:
        since: When its last good tick was.
        error: What the last of them failed with.
    """
    return Alert(
        key=f"sensor_failing:{name}:{since.isoformat()}",
        kind=AlertKind.SENSOR_FAILING,
        domain=None,
        partition_date=None,
        what=f"Every tick of `{name}` has failed since {since:%Y-%m-%d %H:%M} UTC: {error[:MESSAGE]}",
        where=f"{name}, {ui_url.rstrip('/')}/automation",
        command="pdp partitions list",
        at=since,
    )


def lake_down_alert(root: str, since: datetime, error: str, ui_url: str) -> Alert:
    """Return the alert for a lake that cannot be read or written.

    Args:
        root: Where the lake is.
        since: When that was first noticed; which time it was makes it another alert.
        error: What the last attempt failed with.
    """
    what = (
        f"The lake `{root}` cannot be read or written since {since:%Y-%m-%d %H:%M} UTC. Nothing is processed or watched"
        f" until it answers; all of it goes on by itself then. {error[:MESSAGE]}"
    )
    key, ticks = f"lake_down:{root}:{since.isoformat()}", f"{ui_url.rstrip('/')}/automation"
    return Alert(key, AlertKind.LAKE_DOWN, None, None, what, f"{root}, {ticks}", "pdp partitions list", since)


def missing_files_alert(domain: str, day: date, files: Sequence[str], at: datetime, ui_url: str) -> Alert:
    """Return the alert for a date that Bronze has no longer all files of.

    Args:
        files: The files that are gone, sorted; which they are makes it another alert.
    """
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    what = (
        f"`{domain}` {day}: Bronze has lost `{files[0]}`{more}. The date keeps what is published and is not processed"
        " again: restore the files, from the store's versions for example. If their rows are to go, accept the loss."
    )
    which = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
    command = f"pdp partitions reset {domain} {day} --accept-loss"
    return _alert(AlertKind.FILE_MISSING, f"{domain}:{day}:{which}", what, command, at, ui_url, domain, [day])


def unreadable_note_alert(domain: str, day: date, error: str, at: datetime, ui_url: str) -> Alert:
    """Return the alert for a date of which nobody knows which files count: one a UTC day while it stays.

    Args:
        error: Which note cannot be read, why, and what to do.
    """
    what = f"`{domain}` {day} is left as it is, the other dates go on: {error[:MESSAGE]}"
    key, command = f"{domain}:{day}:{at:%Y-%m-%d}", f"pdp partitions show {domain} {day}"
    return _alert(AlertKind.NOTE_UNREADABLE, key, what, command, at, ui_url, domain, [day])


def offset_gap_alert(gap: Gap, ui_url: str) -> Alert:
    """Return the alert for offsets that Kafka had and Bronze has not.

    While the topic still has them, the sink can read them again.
    """
    rewind = f"pdp offsets reset --topic {gap.topic} --partition {gap.partition} --to-offset {gap.first}"
    todo = (
        "The topic still has them, until its retention ends: stop every sink, run the command with the sink's"
        " environment, start the sink. It reads on from there and writes new files; Silver drops what comes twice."
        if gap.still_in_kafka
        else "Retention has dropped some or all of them from the topic: produce the records of that time again from"
        " their source; the pipeline takes them as late data."
    )
    return Alert(
        key=f"offset_gap:{gap.topic}:{gap.partition}:{gap.first}-{gap.last}",
        kind=AlertKind.OFFSET_GAP,
        domain=gap.domain,
        partition_date=None,
        what=f"`{gap.domain}`: {counted(gap.last - gap.first + 1, 'offset')} of `{gap.topic}` partition"
        f" {gap.partition}, {gap.first} to {gap.last}, neither in Bronze nor among the dead letters. {todo}",
        where=f"{gap.domain}, {gap.topic}[{gap.partition}]@{gap.first}-{gap.last},"
        f" {ui_url.rstrip('/')}/assets/bronze/{gap.domain}",
        command=rewind if gap.still_in_kafka else "python -m producers --help",
        at=gap.found_at,
    )


def _alert(
    kind: AlertKind,
    key: str,
    what: str,
    command: str,
    at: datetime,
    ui_url: str,
    domain: str | None,
    days: Sequence[date],
    run_id: str | None = None,
    job: str = "",
) -> Alert:
    """Return an alert about dates; without a domain it is about a job."""
    about, base = domain or f"job {job}", ui_url.rstrip("/")
    link = [f"run {run_id}", f"{base}/runs/{run_id}"] if run_id else [f"{base}/assets/snowflake/{about}"]
    return Alert(
        key=f"{kind.value.lower()}:{key}",
        kind=kind,
        domain=domain,
        partition_date=days[0] if len(days) == 1 else None,
        what=what,
        where=", ".join(part for part in [about, _dates(days), *link] if part),
        command=command,
        at=at,
    )


def _look_at(domain: str | None, days: Sequence[date]) -> str:
    if domain is None:
        return "pdp partitions list"
    if len(days) == 1:
        return f"pdp partitions show {domain} {days[0]}"
    between = f" --from {min(days)} --to {max(days)}" if days else ""
    return f"pdp partitions list {domain}{between}"


def _dates(days: Sequence[date]) -> str:
    """Return dates in words; many in a row by their ends."""
    if len(days) > 3 and (days[-1] - days[0]).days == len(days) - 1:
        return f"{days[0]} to {days[-1]}"
    return ", ".join(day.isoformat() for day in days)


def _message(by_date: Mapping[tuple[str, date], Partition], t: Transition, *, same_run: bool = False) -> str:
    """Return the error of a transition's row; with `same_run` not the one that another run has left since."""
    row = by_date.get((t.domain, t.partition_date))
    if row is None or (same_run and row.run_id != t.run_id):
        return ""
    return (row.error_message or "")[:MESSAGE]


def _detail(transition: Transition, name: str) -> str:
    return str(transition.facts.get(name) or "")[:MESSAGE]
