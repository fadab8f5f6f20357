"""What becomes of each date that an operator asks for, from every state, and under somebody else's hands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from pdp.actions import partition_resets
from pdp.actions.partition_resets import ResetOutcome, Verdict
from platform_core.partitions.partition_meta import Change, Partition, StateConflictError
from platform_core.partitions.partition_state import Event, State
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.memory_partition_meta import InMemoryPartitionMeta

DAY = date(2026, 11, 20)
DETAIL = {"cause": "reset", "by": "ada"}
PATHS: dict[State, tuple[Event, ...]] = {
    State.PENDING: (),
    State.IN_FLIGHT: (Event.RUN_STARTED,),
    State.DONE: (Event.RUN_STARTED, Event.SUCCEEDED),
    State.LATE: (Event.RUN_STARTED, Event.SUCCEEDED, Event.FILES_CHANGED),
    State.REPROCESSING: (Event.RUN_STARTED, Event.SUCCEEDED, Event.FILES_CHANGED, Event.QUEUED),
    State.FAILED: (Event.RUN_STARTED, Event.RUN_FAILED),
    State.RETRYING: (Event.RUN_STARTED, Event.RUN_FAILED, Event.RETRY),
    State.DEAD: (Event.RUN_STARTED, Event.RUN_FAILED, Event.RETRIES_EXHAUSTED),
}


@pytest.fixture
def meta() -> InMemoryPartitionMeta:
    return InMemoryPartitionMeta(FakeClock(datetime(2026, 11, 23, 7, tzinfo=UTC)))


def put(meta: InMemoryPartitionMeta, state: State, day: date = DAY) -> None:
    """Bring a date into a state by legal events, as a run `r1` would."""
    meta.apply([Change("orders", day, State.UNDISCOVERED, Event.FILES_FOUND)])
    for event in PATHS[state]:
        row = meta.get("orders", day)
        assert row is not None
        columns: dict[str, object] = {}
        if event is Event.RUN_STARTED:
            columns = {"run_id": "r1"}
        elif event is Event.RUN_FAILED:
            columns = {"error_message": "boom", "retry_count": 3}
        meta.apply([Change("orders", day, row.status, event, run_id="r1", set=columns)])
    row = meta.get("orders", day)
    assert row is not None
    assert row.status is state


def rows(meta: InMemoryPartitionMeta) -> dict[date, Partition]:
    return {row.partition_date: row for row in meta.rows("orders")}


def verdicts(outcomes: Sequence[ResetOutcome]) -> dict[date, Verdict]:
    return {outcome.day: outcome.verdict for outcome in outcomes}


@pytest.mark.parametrize("state", [s for s in PATHS if s not in (State.PENDING, State.IN_FLIGHT)])
def test_reset_starts_a_date_again_from_every_state(meta: InMemoryPartitionMeta, state: State) -> None:
    put(meta, state)
    [done] = partition_resets.carry_out(meta, partition_resets.reset("orders", [DAY], rows(meta), DETAIL))
    row = meta.get("orders", DAY)
    assert row is not None
    assert (done.verdict, done.before, done.after) == (Verdict.RESET, state, State.PENDING)
    assert (row.status, row.retry_count, row.error_message) == (State.PENDING, 0, None)
    last = meta.history("orders", DAY)[-1]
    assert (last.event, last.from_status) == ("reset", state)
    assert last.detail == '{"cause": "reset", "by": "ada"}'


def test_reset_refuses_a_date_that_a_run_holds_and_names_the_run(meta: InMemoryPartitionMeta) -> None:
    put(meta, State.IN_FLIGHT)
    [outcome] = partition_resets.reset("orders", [DAY], rows(meta), DETAIL)
    assert (outcome.verdict, outcome.run_id, outcome.change) == (Verdict.REFUSED, "r1", None)
    assert "`r1`" in outcome.reason


def test_a_forced_reset_takes_the_date_away_and_the_run_can_no_longer_report(meta: InMemoryPartitionMeta) -> None:
    put(meta, State.IN_FLIGHT)
    partition_resets.carry_out(meta, partition_resets.reset("orders", [DAY], rows(meta), DETAIL, force=True))
    with pytest.raises(StateConflictError):
        meta.apply([Change("orders", DAY, State.IN_FLIGHT, Event.SUCCEEDED, run_id="r1")])


def test_reset_of_a_fresh_pending_date_writes_nothing(meta: InMemoryPartitionMeta) -> None:
    put(meta, State.PENDING)
    before = meta.history()
    [done] = partition_resets.carry_out(meta, partition_resets.reset("orders", [DAY], rows(meta), DETAIL))
    assert done.verdict is Verdict.WAITING
    assert meta.history() == before


def test_reset_of_a_date_without_a_row_is_refused(meta: InMemoryPartitionMeta) -> None:
    [outcome] = partition_resets.reset("orders", [DAY], rows(meta), DETAIL)
    assert (outcome.verdict, outcome.before) == (Verdict.REFUSED, State.UNDISCOVERED)


def test_revive_without_dates_takes_the_dead_and_nothing_else(meta: InMemoryPartitionMeta) -> None:
    for n, state in enumerate(PATHS):
        put(meta, state, DAY + timedelta(days=n))
    [outcome] = partition_resets.revive("orders", None, rows(meta), DETAIL)
    assert (outcome.before, outcome.verdict) == (State.DEAD, Verdict.RESET)


def test_revive_refuses_a_named_date_that_is_not_dead(meta: InMemoryPartitionMeta) -> None:
    put(meta, State.FAILED)
    outcomes = partition_resets.revive("orders", [DAY, DAY + timedelta(days=1)], rows(meta), DETAIL)
    assert [o.verdict for o in outcomes] == [Verdict.REFUSED, Verdict.REFUSED]
    assert "FAILED, not DEAD" in outcomes[0].reason


def test_backfill_says_for_each_date_of_the_range_what_happens(meta: InMemoryPartitionMeta) -> None:
    days = [DAY + timedelta(days=n) for n in range(7)]
    for n, state in enumerate((State.DONE, State.DEAD, State.IN_FLIGHT, State.PENDING, State.DONE)):
        put(meta, state, days[n])
    bronze = {*days[:4], days[5]}  # 4: a row whose Bronze is gone, 5: Bronze without a row, 6: nothing
    outcomes = partition_resets.backfill("orders", days[0], days[6], rows(meta), bronze, DETAIL)
    assert list(verdicts(outcomes).values()) == [
        Verdict.RESET,
        Verdict.RESET,
        Verdict.REFUSED,
        Verdict.WAITING,
        Verdict.REFUSED,
        Verdict.WAITING,
        Verdict.SKIPPED,
    ]
    assert "Bronze has no file of it" in outcomes[4].reason and "no Bronze files" in outcomes[6].reason
    assert "discovery" in outcomes[5].reason


def test_backfill_of_the_failed_leaves_all_others(meta: InMemoryPartitionMeta) -> None:
    days = {state: DAY + timedelta(days=n) for n, state in enumerate(PATHS)}
    for state, day in days.items():
        put(meta, state, day)
    outcomes = partition_resets.backfill(
        "orders", DAY, max(days.values()), rows(meta), days.values(), DETAIL, only_failed=True
    )
    assert {o.before for o in outcomes if o.change} == {State.FAILED, State.DEAD}
    assert Verdict.REFUSED not in verdicts(outcomes).values()


def test_a_date_that_changed_since_the_plan_is_refused_and_the_others_go_on(meta: InMemoryPartitionMeta) -> None:
    days = [DAY + timedelta(days=n) for n in range(3)]
    for day in days:
        put(meta, State.DONE, day)
    plan = partition_resets.backfill("orders", days[0], days[2], rows(meta), days, DETAIL)
    meta.apply([Change("orders", days[1], State.DONE, Event.FILES_CHANGED)])
    done = partition_resets.carry_out(meta, plan)
    assert list(verdicts(done).values()) == [Verdict.RESET, Verdict.REFUSED, Verdict.RESET]
    assert done[1].before is State.LATE
    assert [row.status for row in meta.rows("orders")] == [State.PENDING, State.LATE, State.PENDING]
