"""The transition table, exhaustively, and the compare-and-set on top of it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from platform_core.errors import PermanentError
from platform_core.partitions.partition_meta import Change, StateConflictError
from platform_core.partitions.partition_state import TRANSITIONS, Event, State, next_state
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta
from tests.rigs.lake.partition_machine import DESIGN

DESIGNED = DESIGN | {
    (state, "reset"): "PENDING"
    for state in ("PENDING", "IN_FLIGHT", "DONE", "FAILED", "RETRYING", "DEAD", "LATE", "REPROCESSING", "ILLEGAL")
}
DAY = date(2026, 11, 20)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_every_pair_of_state_and_event(state: State, event: Event) -> None:
    wanted = DESIGNED.get((state.value, event.value))
    if wanted is None:
        with pytest.raises(PermanentError, match=str(event)):
            next_state(state, event)
    else:
        assert next_state(state, event).value == wanted


def test_the_table_is_frozen() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.DONE, Event.RETRY] = State.DEAD  # type: ignore[index]


def store() -> InMemoryPartitionMeta:
    return InMemoryPartitionMeta(FakeClock(datetime(2026, 11, 21, tzinfo=UTC)))


def test_a_run_that_lost_its_claim_cannot_finish() -> None:
    meta = store()
    meta.apply([Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND)])
    meta.apply([Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="a", set={"run_id": "a"})])
    with pytest.raises(StateConflictError, match="IN_FLIGHT \\(run a\\)"):
        meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="zombie")])
    meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a")])


def test_one_refused_change_refuses_all() -> None:
    meta = store()
    meta.apply([Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND)])
    with pytest.raises(StateConflictError):
        meta.apply(
            [
                Change("orders", DAY, State.UNDISCOVERED, Event.FILES_FOUND),
                Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND),
            ]
        )
    assert meta.get("orders", DAY) is None


def test_history_keeps_every_transition_in_order() -> None:
    meta = store()
    meta.apply([Change("events", DAY, State.UNDISCOVERED, Event.FILES_FOUND)])
    meta.apply([Change("events", DAY, State.PENDING, Event.RUN_STARTED, run_id="a", set={"run_id": "a"})])
    meta.apply([Change("events", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="a")])
    meta.apply(
        [
            Change("events", DAY, State.DONE, Event.FILES_CHANGED),
            Change("events", DAY, State.LATE, Event.QUEUED),
        ]
    )
    assert [t.to_status for t in meta.history("events", DAY)] == [
        "PENDING",
        "IN_FLIGHT",
        "DONE",
        "LATE",
        "REPROCESSING",
    ]
