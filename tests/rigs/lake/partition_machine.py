"""A Hypothesis state machine: any sequence of ticks, runs, crashes and operators against a store of partitions.

The model is written from the design's table, not from the code's. Subclass it with a store and it is a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from platform_core.errors import PermanentError
from platform_core.partitions.partition_meta import Change, PartitionMetaStore, StateConflictError
from platform_core.partitions.partition_state import Event, State
from tests.rigs.fake_clock import FakeClock

DAYS = [date(2026, 11, 1) + timedelta(days=n) for n in range(3)]
DESIGN = {
    ("UNDISCOVERED", "files_found"): "PENDING",
    ("PENDING", "run_started"): "IN_FLIGHT",
    ("RETRYING", "run_started"): "IN_FLIGHT",
    ("REPROCESSING", "run_started"): "IN_FLIGHT",
    ("IN_FLIGHT", "renewed"): "IN_FLIGHT",
    ("IN_FLIGHT", "succeeded"): "DONE",
    ("IN_FLIGHT", "run_failed"): "FAILED",
    ("FAILED", "retry"): "RETRYING",
    ("FAILED", "retries_exhausted"): "DEAD",
    ("DONE", "files_changed"): "LATE",
    ("DONE", "files_compacted"): "DONE",
    ("DONE", "rows_moved"): "LATE",
    ("LATE", "queued"): "REPROCESSING",
}
OWNED = {"renewed", "succeeded", "run_failed"}


@dataclass
class Modelled:
    """What the model knows of a partition."""

    state: str = "UNDISCOVERED"
    owner: str | None = None
    transitions: int = 0


class PartitionMachine(RuleBasedStateMachine):
    """Every event, legal or not, by any run, expecting any state; the store must answer as the model does."""

    runs: Bundle[str] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(datetime(2026, 11, 10, tzinfo=UTC))
        self.model = {day: Modelled() for day in DAYS}
        self.store = self.make_store()

    def make_store(self) -> PartitionMetaStore:
        """Return an empty store on `self.clock`."""
        raise NotImplementedError

    @rule(target=runs, number=st.integers(0, 3))
    def a_run(self, number: int) -> str:
        return f"run-{number}"

    @rule(
        day=st.sampled_from(DAYS), event=st.sampled_from(list(Event)), run=runs, stale=st.sampled_from([None, *State])
    )
    def happens(self, day: date, event: Event, run: str, stale: State | None) -> None:
        """One event; `stale` is what the actor believes the state to be, by default the truth."""
        model = self.model[day]
        believed = stale or State(model.state)
        to = DESIGN.get((model.state, event.value))
        if event is Event.RESET and model.state != "UNDISCOVERED":
            to = "PENDING"
        changed = {"run_id": run} if event is Event.RUN_STARTED else {}
        change = Change("events", day, believed, event, run_id=run, set=dict(changed))
        self.clock.advance(seconds=1)
        refused = believed.value != model.state or (event.value in OWNED and model.owner != run)
        before = self.store.get("events", day)
        try:
            [row] = self.store.apply([change])
        except StateConflictError:
            assert refused, f"{event} of {run} on {model} was refused"
            assert self.store.get("events", day) == before
            return
        except PermanentError:
            assert to is None
            assert self.store.get("events", day) == before
            return
        assert not refused, f"{event} of {run}, believing {believed}, was taken on {model}"
        assert row.status.value == to
        model.state = str(to)
        model.owner = changed.get("run_id", model.owner)
        model.transitions += event is not Event.RENEWED

    @rule(day=st.sampled_from(DAYS), run=runs)
    def two_schedulers_start_it(self, day: date, run: str) -> None:
        """Two runs claim the same date from the same belief; one wins at most."""
        model = self.model[day]
        won = 0
        for name in (f"{run}-a", f"{run}-b"):
            claim = Change("events", day, State(model.state), Event.RUN_STARTED, run_id=name, set={"run_id": name})
            self.clock.advance(seconds=1)
            try:
                self.store.apply([claim])
            except (StateConflictError, PermanentError):
                continue
            won += 1
            winner = name
        startable = model.state in ("PENDING", "RETRYING", "REPROCESSING")
        assert won == int(startable)
        if won:
            self.model[day] = Modelled("IN_FLIGHT", winner, model.transitions + 1)

    @invariant()
    def the_store_is_the_model(self) -> None:
        rows = {row.partition_date: row for row in self.store.rows("events")}
        for day, model in self.model.items():
            if model.state == "UNDISCOVERED":
                assert day not in rows
            else:
                assert (rows[day].status.value, rows[day].run_id) == (model.state, model.owner)

    def teardown(self) -> None:
        for day, model in self.model.items():
            history = self.store.history("events", day)
            assert len(history) == model.transitions
            for before, after in pairwise(history):
                assert before.to_status == after.from_status
