"""A lake in a temporary folder, with partitions in chosen states, and the real application run on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pdp.cli import app
from platform_core.domain.catalog import load_catalog
from platform_core.lake.lake import Lake
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings, settings

Run = Callable[..., Result]
Put = Callable[..., None]

_EVENTS: dict[State, tuple[Event, ...]] = {
    State.PENDING: (),
    State.IN_FLIGHT: (Event.RUN_STARTED,),
    State.DONE: (Event.RUN_STARTED, Event.SUCCEEDED),
    State.FAILED: (Event.RUN_STARTED, Event.RUN_FAILED),
    State.DEAD: (Event.RUN_STARTED, Event.RUN_FAILED, Event.RETRIES_EXHAUSTED),
}
_AFTER = {
    Event.FILES_FOUND: State.PENDING,
    Event.RUN_STARTED: State.IN_FLIGHT,
    Event.SUCCEEDED: State.DONE,
    Event.RUN_FAILED: State.FAILED,
    Event.RETRIES_EXHAUSTED: State.DEAD,
}
_COLUMNS: dict[Event, dict[str, Any]] = {
    Event.RUN_STARTED: {"run_id": "run-12345678"},
    Event.SUCCEEDED: {"record_count": 1234, "silver_records": 1200, "gold_records": 96},
    Event.RUN_FAILED: {"error_message": "Column [total] is gone.\nsecond line", "retry_count": 3},
}


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """An empty lake, to which this process's settings point until the test ends."""
    before = dict(os.environ)
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    settings.cache_clear()
    lake = Lake(Settings(lake_uri=str(tmp_path / "lake")))
    lake.prepare()
    yield lake
    os.environ.clear()
    os.environ.update(before)
    settings.cache_clear()


@pytest.fixture
def meta(lake: Lake) -> DeltaPartitionMeta:
    return DeltaPartitionMeta(lake)


@pytest.fixture
def put(lake: Lake, meta: DeltaPartitionMeta) -> Put:
    """Bring a date into a state, by legal events in one commit, with its Bronze files unless told otherwise."""
    catalog = load_catalog(settings().domains_file)

    def do(domain: str, day: str, state: State | None, *, bronze: bool = True) -> None:
        when = date.fromisoformat(day)
        folder = lake.bronze_partition(catalog[domain], when)
        names = [f"{folder}/part-{n}.parquet" for n in range(1, 8 if state else 2)]
        for name in names if bronze else ():
            path = Path(lake.uri(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        if state is None:
            return
        found = {"source_files": tuple(names)}
        changes = [Change(domain, when, State.UNDISCOVERED, Event.FILES_FOUND, set=found)]
        for event in _EVENTS[state]:
            expected = _AFTER[changes[-1].event]
            changes.append(Change(domain, when, expected, event, run_id="run-12345678", set=_COLUMNS.get(event, {})))
        meta.apply(changes)

    return do


@pytest.fixture
def pdp() -> Run:
    """Run the application; `Result` has stdout, stderr and the exit code."""

    def do(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="pdp")

    return do


@pytest.fixture
def pdp_json(pdp: Run) -> Callable[..., Any]:
    """Run the application with --json and return the document; stdout has nothing else."""

    def do(*arguments: str, code: int = 0) -> Any:
        result = pdp(*arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return do
