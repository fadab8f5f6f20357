"""Dagster's storage with years of runs in it: each is a copy of one that was made, on another date.

Through Dagster's own interface an event costs milliseconds and a run has a hundred of them. Only SQLite is written: it
is the storage of an installation without `DAGSTER_POSTGRES_URL`.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

_TIMES = frozenset({"timestamp", "create_timestamp", "update_timestamp", "event_timestamp", "start_time", "end_time"})
Values = dict[str, Any]


def repeat_runs(home: Path, template: date, days: Sequence[date]) -> None:
    """Copy the first run of each domain's date to other dates, in their order.

    Args:
        home: DAGSTER_HOME; nobody has it open.
        template: The date whose runs are copied.
        days: The dates that get them.
    """
    history = home / "history"
    with _opened(history / "runs.db") as runs, _opened(history / "runs" / "index.db") as index:
        found = runs.execute(
            "select min(id) from runs where partition = ? group by pipeline_name", (template.isoformat(),)
        )
        templates = [_Run.read(runs, index, number) for (number,) in found.fetchall()]
        for day in days:  # as they came: an event of an older date has a lower number in every domain
            ago = days[-1] - day + timedelta(days=1)
            for run in templates:
                new = str(uuid.uuid4())
                run.repeat(runs, index, _mover({run.run_id: new, template.isoformat(): day.isoformat()}, ago))
                shutil.copy(history / "runs" / f"{run.run_id}.db", history / "runs" / f"{new}.db")
                shutil.copytree(home / "storage" / run.run_id, home / "storage" / new)


@dataclass(frozen=True)
class _Run:
    """Every row that Dagster has of one run."""

    row: Values
    tags: list[Values]
    events: list[Values]
    event_tags: dict[int, list[Values]]
    checks: list[Values]

    @classmethod
    def read(cls, runs: sqlite3.Connection, index: sqlite3.Connection, number: int) -> _Run:
        [row] = _rows(runs, "runs", "id", number)
        run_id = row["run_id"]
        events = _rows(index, "event_logs", "run_id", run_id)
        return cls(
            row,
            _rows(runs, "run_tags", "run_id", run_id),
            events,
            {each["id"]: _rows(index, "asset_event_tags", "event_id", each["id"]) for each in events},
            _rows(index, "asset_check_executions", "run_id", run_id),
        )

    @property
    def run_id(self) -> str:
        return str(self.row["run_id"])

    def repeat(self, runs: sqlite3.Connection, index: sqlite3.Connection, moved: Callable[[Values], Values]) -> None:
        _insert(runs, "runs", moved(self.row))
        for tag in self.tags:
            _insert(runs, "run_tags", moved(tag))
        ids = {}
        for event in self.events:
            ids[event["id"]] = _insert(index, "event_logs", moved(event))
            for tag in self.event_tags[event["id"]]:
                _insert(index, "asset_event_tags", {**moved(tag), "event_id": ids[event["id"]]})
        for check in self.checks:
            ids_of_check: Values = {
                key: ids.get(check[key], check[key])
                for key in ("evaluation_event_storage_id", "materialization_event_storage_id")
                if key in check
            }
            _insert(index, "asset_check_executions", {**moved(check), **ids_of_check})


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection
        connection.commit()


def _rows(connection: sqlite3.Connection, table: str, column: str, value: object) -> list[Values]:
    return [dict(row) for row in connection.execute(f"select * from {table} where {column} = ?", (value,))]


def _insert(connection: sqlite3.Connection, table: str, row: Values) -> int | None:
    kept = {key: value for key, value in row.items() if key != "id"}
    names, marks = ", ".join(kept), ", ".join("?" * len(kept))
    return connection.execute(f"insert into {table} ({names}) values ({marks})", tuple(kept.values())).lastrowid


def _mover(words: dict[str, str], ago: timedelta) -> Callable[[Values], Values]:
    """Return what makes a row one of another run and date, so long ago."""

    def moved(row: Values) -> Values:
        return {key: _earlier(key, value) if key in _TIMES else _of_another_run(value) for key, value in row.items()}

    def _of_another_run(value: Any) -> Any:
        if isinstance(value, str):
            for old, new in words.items():
                value = value.replace(old, new)
        return value

    def _earlier(key: str, value: Any) -> Any:
        if isinstance(value, str):
            return str(datetime.fromisoformat(value) - ago)
        return value if value is None else value - ago.total_seconds()

    return moved
