"""Which of Dagster's old runs are forgotten: those that no asset's, partition's or check's newest event came from.

Dagster deletes a run with its events, and what the UI shows of a partition is its newest event; so age alone would
empty the calendar. An old run that is shown keeps its results, and its log goes. What the platform remembers of a date
(transitions, corrections) is not Dagster's and stays.

A night looks at the runs that have become old since the one before, and once a week at all: an old run that was shown
is shown no more when its date was processed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import dagster as dg
import sqlalchemy as sa
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from pydantic import BaseModel, ValidationError

from platform_core.clock import SystemClock

Value = TypeVar("Value", str, int)

AT_ONCE = 500

WHOLE_EVERY = timedelta(days=7) - timedelta(hours=1)
"""A little less than a week, because a run of a daily schedule begins some minutes earlier or later."""

OVERLAP = timedelta(hours=1)
"""How much further back a night looks: runs bear the times of several hosts."""

_CURSOR = "pdp_run_retention"

EMPTY_LOG_BYTES = 16_384
"""A run's log on SQLite is a file of 135,000 bytes before its first line; smaller is one that was emptied here."""

_RESULTS = [kind.value for kind in (*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS)]


_SHOWN = [dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value]
"""The newest of these of a partition is what the UI shows of it: what was made, and an attempt that made nothing."""


class _LastTurn(BaseModel):
    """What is remembered of the last turn, beside Dagster's own cursors.

    Attributes:
        before: The runs that were last touched before it have been looked at.
        whole_at: When all old runs were looked at.
    """

    before: datetime
    whole_at: datetime


def forget_old_runs(instance: dg.DagsterInstance, before: datetime, now: datetime | None = None) -> int:
    """Delete finished runs that were last touched before a time, and the logs of those among them that are shown.

    Killed at any point it leaves what the next turn ends.

    Args:
        instance: Dagster's.
        before: Aware, UTC.
        now: The present time.

    Returns:
        How many runs were deleted.
    """
    now = now or SystemClock().now()
    last = _last_turn(instance)
    whole = last is None or not timedelta() <= now - last.whole_at < WHOLE_EVERY
    since = None if whole or last is None else last.before - OVERLAP
    forgotten = _forget(instance, before, since)
    turn = _LastTurn(before=before, whole_at=now if whole or last is None else last.whole_at)
    instance.daemon_cursor_storage.set_cursor_values({_CURSOR: turn.model_dump_json()})
    return forgotten


def _last_turn(instance: dg.DagsterInstance) -> _LastTurn | None:
    text = instance.daemon_cursor_storage.get_cursor_values({_CURSOR}).get(_CURSOR)
    try:
        return None if text is None else _LastTurn.model_validate_json(text)
    except ValidationError:
        return None


def _forget(instance: dg.DagsterInstance, before: datetime, since: datetime | None) -> int:
    filters = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before, updated_after=since)
    old = instance.get_run_ids(filters)
    if not old:
        return 0
    shown = _shown_runs(instance, old)
    forgotten = sorted(set(old) - shown)
    for run_id in forgotten:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        if (log := _log_file(instance, run_id)) is not None:
            # Dagster empties the file and leaves it, as large as it was.
            log.unlink(missing_ok=True)
    _forget_logs(instance, sorted(shown.intersection(old)))
    return len(forgotten)


def _forget_logs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete what runs logged, and not their results; those whose logs are gone already cost a look."""
    for chunk in _chunks(run_ids):
        logged = SqlEventLogStorageTable.c
        no_result = sa.or_(logged.dagster_event_type.is_(None), logged.dagster_event_type.not_in(_RESULTS))
        mine = sa.and_(logged.run_id.in_(chunk), no_result)
        with _index(instance) as connection:
            with_log = connection.execute(sa.select(logged.run_id).distinct().where(mine)).scalars().all()
        for run_id in with_log:  # what they printed goes first: without their log nobody would look for it again
            instance.compute_log_manager.delete_logs(prefix=[run_id])
        with _index(instance) as connection:
            connection.execute(SqlEventLogStorageTable.delete().where(mine))
    for run_id in run_ids:
        log = _log_file(instance, run_id)
        if log is not None and log.exists() and log.stat().st_size > EMPTY_LOG_BYTES:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            _empty(log)


def _empty(log: Path) -> None:
    """Replace a run's log by one without lines: a process that has read it before finds its table, and no index."""
    smaller = log.with_suffix(".emptied")
    smaller.unlink(missing_ok=True)
    with closing(sqlite3.connect(log)) as old, closing(sqlite3.connect(smaller)) as new:
        new.execute("PRAGMA page_size = 512")
        for (table,) in old.execute("select sql from sqlite_master where name in ('event_logs', 'alembic_version')"):
            new.execute(table)
        new.executemany("insert into alembic_version values (?)", old.execute("select * from alembic_version"))
        new.commit()
    smaller.replace(log)


def _log_file(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    """Return the file that a run's log has to itself on SQLite; elsewhere all logs are one table."""
    storage = instance.event_log_storage
    return Path(storage.path_for_shard(run_id)) if isinstance(storage, SqliteEventLogStorage) else None


def _shown_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> set[str]:
    """Return those of some runs whose events the UI shows as the newest of an asset or of one of its partitions.

    Each event is looked up in Dagster's index by asset, type and partition: to ask Dagster for what it shows costs half
    a second of CPU however few runs are old, and follows the number of dates.
    """
    event, newer = SqlEventLogStorageTable.alias("event"), SqlEventLogStorageTable.alias("newer")
    of_same_asset = sa.and_(
        newer.c.asset_key == event.c.asset_key,
        newer.c.dagster_event_type == event.c.dagster_event_type,
        newer.c.id > event.c.id,
    )
    # Two conditions, not one with OR: no database finds a row by its index for that.
    newest = sa.and_(
        ~sa.exists().where(of_same_asset, newer.c.partition == event.c.partition),
        sa.or_(
            event.c.partition.is_not(None),
            ~sa.exists().where(of_same_asset, newer.c.partition.is_(None)),
        ),
    )
    shown: set[str] = set()
    for chunk in _chunks(run_ids):
        mine = (event.c.run_id.in_(chunk), event.c.asset_key.is_not(None), event.c.dagster_event_type.in_(_SHOWN))
        with _index(instance) as connection:
            found = connection.execute(sa.select(event.c.run_id).distinct().where(*mine, newest))
            shown |= set(found.scalars())
    return shown


def _index(instance: dg.DagsterInstance) -> AbstractContextManager[sa.Connection]:
    """Return a connection to the table of the results of all runs; each of Dagster's storages has one."""
    return instance.event_log_storage.index_connection()  # type: ignore[attr-defined, no-any-return]


def _chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]
