"""The partition state machine: states, events, and the frozen table of legal transitions, without IO.

Add a state or an event here and to `docs/operations.md`; storing a state belongs to `partition_meta`, deciding
which event happened belongs to discovery and to the runs.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from platform_core.errors import PermanentError


class State(StrEnum):
    """Where a partition is on its way; `UNDISCOVERED` means that it has no row.

    `ILLEGAL` stands for whatever else somebody wrote into the column; only a reset leaves it.
    """

    UNDISCOVERED = "UNDISCOVERED"
    PENDING = "PENDING"
    IN_FLIGHT = "IN_FLIGHT"
    DONE = "DONE"
    FAILED = "FAILED"
    RETRYING = "RETRYING"
    DEAD = "DEAD"
    LATE = "LATE"
    REPROCESSING = "REPROCESSING"
    ILLEGAL = "ILLEGAL"


class Event(StrEnum):
    """What can happen to a partition."""

    FILES_FOUND = "files_found"
    RUN_STARTED = "run_started"
    RENEWED = "renewed"
    SUCCEEDED = "succeeded"
    RUN_FAILED = "run_failed"
    RETRY = "retry"
    RETRIES_EXHAUSTED = "retries_exhausted"
    FILES_CHANGED = "files_changed"
    FILES_COMPACTED = "files_compacted"
    ROWS_MOVED = "rows_moved"
    QUEUED = "queued"
    RESET = "reset"


TRANSITIONS: MappingProxyType[tuple[State, Event], State] = MappingProxyType(
    {
        (State.UNDISCOVERED, Event.FILES_FOUND): State.PENDING,
        (State.PENDING, Event.RUN_STARTED): State.IN_FLIGHT,
        (State.RETRYING, Event.RUN_STARTED): State.IN_FLIGHT,
        (State.REPROCESSING, Event.RUN_STARTED): State.IN_FLIGHT,
        (State.IN_FLIGHT, Event.RENEWED): State.IN_FLIGHT,
        (State.IN_FLIGHT, Event.SUCCEEDED): State.DONE,
        (State.IN_FLIGHT, Event.RUN_FAILED): State.FAILED,
        (State.FAILED, Event.RETRY): State.RETRYING,
        (State.FAILED, Event.RETRIES_EXHAUSTED): State.DEAD,
        (State.DONE, Event.FILES_CHANGED): State.LATE,
        (State.DONE, Event.FILES_COMPACTED): State.DONE,
        (State.DONE, Event.ROWS_MOVED): State.LATE,
        (State.LATE, Event.QUEUED): State.REPROCESSING,
        **{(state, Event.RESET): State.PENDING for state in State if state is not State.UNDISCOVERED},
    }
)

STARTABLE = frozenset({State.PENDING, State.RETRYING, State.REPROCESSING})


def next_state(state: State, event: Event) -> State:
    """Return the state after an event.

    Raises:
        PermanentError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        legal = sorted(e for s, e in TRANSITIONS if s is state)
        raise PermanentError(
            f"A partition that is {state} cannot take the event `{event}`; legal are {', '.join(legal)}.",
        ) from None
