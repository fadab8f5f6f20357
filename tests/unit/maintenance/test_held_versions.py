"""Which versions of Gold are kept for corrections that wait, however long."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from maintenance.held_versions import held_versions
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta

DAY = date(2026, 11, 20)


@pytest.fixture
def orders() -> Domain:
    return load_catalog(Settings().domains_file)["orders"]


@pytest.fixture
def partitions() -> InMemoryPartitionMeta:
    return InMemoryPartitionMeta(FakeClock(datetime(2026, 11, 22, tzinfo=UTC)))


def step(expected: State, event: Event, **facts: Any) -> Change:
    run = "run-1" if event in (Event.RUN_STARTED, Event.SUCCEEDED, Event.RUN_FAILED) else None
    columns: dict[str, Any] = {"run_id": run} if run else {}
    if event is Event.SUCCEEDED:
        columns["processed_at"] = datetime(2026, 11, 21, tzinfo=UTC)
    return Change("orders", DAY, expected, event, run_id=run, set=columns, detail=facts)


DONE = [
    step(State.UNDISCOVERED, Event.FILES_FOUND),
    step(State.PENDING, Event.RUN_STARTED),
    step(State.IN_FLIGHT, Event.SUCCEEDED),
]
LATE = [*DONE, step(State.DONE, Event.FILES_CHANGED)]
FAILED = [
    *LATE,
    step(State.LATE, Event.QUEUED),
    step(State.REPROCESSING, Event.RUN_STARTED, gold_before={"orders": 4, "orders_by_restaurant": 3}),
    step(State.IN_FLIGHT, Event.RUN_FAILED),
]
DEAD = [*FAILED, step(State.FAILED, Event.RETRIES_EXHAUSTED)]
RESET = [*DEAD, step(State.DEAD, Event.RESET)]
CORRECTED = [*RESET, step(State.PENDING, Event.RUN_STARTED), step(State.IN_FLIGHT, Event.SUCCEEDED)]
HELD = {"orders": {4}, "orders_by_restaurant": {3}}


@pytest.mark.parametrize(
    ("changes", "held"),
    [(DONE, {}), (LATE, {}), (FAILED, HELD), (DEAD, HELD), (RESET, HELD), (CORRECTED, {})],
    ids=["done", "late", "failed", "dead", "reset", "corrected"],
)
def test_a_correction_that_waits_holds_what_gold_was_before_its_first_attempt(
    orders: Domain, partitions: InMemoryPartitionMeta, changes: list[Change], held: dict[str, set[int]]
) -> None:
    partitions.apply(changes)
    assert held_versions(orders, partitions) == held


def test_a_date_that_never_was_done_holds_nothing(orders: Domain, partitions: InMemoryPartitionMeta) -> None:
    partitions.apply([*DONE[:2], step(State.IN_FLIGHT, Event.RUN_FAILED)])
    assert held_versions(orders, partitions) == {}
