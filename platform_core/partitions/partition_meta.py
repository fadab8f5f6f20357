"""One row per (domain, date): the partition's state, and the reader and store protocols over it.

Readers (sensors, checks, the operator's views) get a `PartitionMetaReader`; only the orchestrator holds a
`PartitionMetaStore`. Where rows are kept belongs to the implementations, which transitions are legal belongs to
`partition_state`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from platform_core.errors import TransientError
from platform_core.partitions.partition_state import Event, State, next_state


@dataclass(frozen=True)
class Partition:
    """A row of partition_meta: its 16 columns.

    Attributes:
        partition_date: The UTC date.
        run_id: The Dagster run that last claimed it.
        record_count: Bronze records that the last run read.
        source_files: The exact Bronze files of the last claim, lake-relative, sorted.
        file_hash: md5 of `source_files`.
        silver_records: Rows that the last successful run wrote to Silver.
        gold_records: Rows over all Gold tables.
        retry_count: Retries since the last success or reset.
        error_message: The last failure, None after a success.
        created_at: When Bronze was first seen, UTC.
        updated_at: When the row last changed, UTC; while it is IN_FLIGHT, when its run last renewed the lease.
        processed_at: When the last successful run ended, UTC.
        silver_path: URI of the Silver table.
        gold_path: URI of the folder of Gold tables.
    """

    domain: str
    partition_date: date
    status: State
    run_id: str | None = None
    record_count: int | None = None
    source_files: tuple[str, ...] = ()
    file_hash: str | None = None
    silver_records: int | None = None
    gold_records: int | None = None
    retry_count: int = 0
    error_message: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    processed_at: datetime | None = None
    silver_path: str | None = None
    gold_path: str | None = None


@dataclass(frozen=True)
class Change:
    """One transition to make: a compare-and-set.

    Attributes:
        day: The partition's date.
        expected: The state that the row must be in; `UNDISCOVERED` when there must be no row.
        event: What happened.
        run_id: The run that caused it; for `RENEWED`, `SUCCEEDED` and `RUN_FAILED` the row must still carry it, so
            that a run that lost its claim cannot write.
        made_of: The `file_hash` that the row must have; None where any will do. A date that is DONE stays so when its
            files are compacted, so its state alone does not tell that they are still those that were compared.
        set: Columns to change besides status and updated_at.
        detail: What to remember in the history, JSON-serialisable.
    """

    domain: str
    day: date
    expected: State
    event: Event
    run_id: str | None = None
    made_of: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def must_own(self) -> bool:
        """Whether the row must carry `run_id`."""
        return self.event in (Event.RENEWED, Event.SUCCEEDED, Event.RUN_FAILED) and self.run_id is not None

    def apply(self, row: Partition | None, now: datetime) -> Partition:
        """Return the row after the change.

        Args:
            row: The row as it is, None when there is none.
            now: The time of the change, UTC.

        Raises:
            StateConflictError: the row is not in the expected state, belongs to another run, or has other files.
            PermanentError: the transition is illegal.
        """
        state = row.status if row else State.UNDISCOVERED
        owner = row.run_id if row else None
        if state is not self.expected or (self.must_own and owner != self.run_id):
            raise StateConflictError(
                f"Partition `{self.domain}` {self.day} is {state} (run {owner}), not {self.expected}"
                f" (run {self.run_id}): `{self.event}` is refused. Another process was first; look at its history.",
                state,
            )
        if self.made_of is not None and (row is None or row.file_hash != self.made_of):
            raise StateConflictError(
                f"Partition `{self.domain}` {self.day} is made of other files than were compared: `{self.event}` is"
                " refused. Another process was first; look at its history.",
                state,
            )
        base = row or Partition(self.domain, self.day, State.UNDISCOVERED, created_at=now)
        return replace(base, **self.set, status=next_state(state, self.event), updated_at=now)


UNEXPLAINED = "unexplained"
"""In a transition's detail: what the audit of a date that became DONE could not explain."""


@dataclass(frozen=True)
class Transition:
    """One line of a partition's history."""

    domain: str
    partition_date: date
    at: datetime
    from_status: str
    to_status: str
    event: str
    run_id: str | None
    detail: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """The detail, parsed; empty when somebody wrote something else by SQL."""
        try:
            value = json.loads(self.detail)
        except (TypeError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


class StateConflictError(TransientError):
    """A compare-and-set found another state than the expected one.

    Args:
        state: The one that it found.
    """

    def __init__(self, message: str, state: State) -> None:
        super().__init__(message)
        self.state = state


class PartitionMetaReader(Protocol):
    """Looks at partitions, never changes them."""

    def get(self, domain: str, day: date) -> Partition | None:
        """Return one row with its file list, or None."""
        ...

    def rows(self, domain: str | None = None, days: Collection[date] | None = None) -> list[Partition]:
        """Return rows by domain and date, without their file lists (those are large).

        Args:
            domain: Of this one; of all by default.
            days: Of these dates; of all by default, and then its cost grows with the history.
        """
        ...

    def states(self, domain: str | None = None) -> dict[tuple[str, date], State]:
        """Return the state of each date, by domain and date: what may be read of the whole history at any time."""
        ...

    def history(
        self, domain: str | None = None, day: date | None = None, since: datetime | None = None
    ) -> list[Transition]:
        """Return transitions, oldest first; with `since` only those at or after it."""
        ...


class PartitionMetaStore(PartitionMetaReader, Protocol):
    """Changes partitions; one process at a time wins each compare-and-set."""

    def apply(self, changes: Sequence[Change]) -> list[Partition]:
        """Make all changes in one commit.

        Returns:
            The rows after the changes, in the order given.

        Raises:
            StateConflictError: one of them found another state; none was made.
        """
        ...


def since_done(history: Sequence[Transition]) -> tuple[Transition | None, Sequence[Transition]]:
    """Return the transition by which a date was last DONE, None if it never was, and those after it, oldest first."""
    done = max((n for n, t in enumerate(history) if t.event == Event.SUCCEEDED), default=-1)
    return history[done] if done >= 0 else None, history[done + 1 :]


def attempts_since_done(history: Sequence[Transition]) -> list[Transition]:
    """Return the starts of runs in a date's history, oldest first, that came after it was last DONE."""
    return [t for t in since_done(history)[1] if t.event == Event.RUN_STARTED]


def gold_before(history: Sequence[Transition]) -> dict[str, int] | None:
    """Return the version of each Gold table before the first attempt since a date was last DONE; None without one."""
    noted = (t.facts.get("gold_before") for t in attempts_since_done(history))
    return next((versions for versions in noted if versions is not None), None)


MOMENT = timedelta(microseconds=1)


def fold(
    changes: Sequence[Change], current: Mapping[tuple[str, date], Partition], now: datetime
) -> tuple[list[Partition], list[Transition]]:
    """Apply changes in order, each on what the ones before it left.

    A row's time never goes back, whatever clock its writer has: the history is read in the order of its times, and a
    run whose host is ahead would otherwise end after what followed it.

    Args:
        changes: The changes; a partition may occur several times (late, then queued).
        current: The stored rows by (domain, date).
        now: The time of all of them, UTC, by the clock of who makes them.

    Returns:
        The row after each change, and the history line of each; renewed leases leave none.

    Raises:
        StateConflictError: a row is not in the expected state; nothing may be stored then.
    """
    state = dict(current)
    rows, transitions = [], []
    for change in changes:
        before = state.get((change.domain, change.day))
        earlier = before.updated_at if before is not None else None
        at = now if earlier is None or now >= earlier else earlier + MOMENT
        row = change.apply(before, at)
        state[change.domain, change.day] = row
        rows.append(row)
        if change.event is Event.RENEWED:
            continue
        transitions.append(
            Transition(
                change.domain,
                change.day,
                at,
                change.expected.value,
                row.status.value,
                change.event.value,
                change.run_id or row.run_id,
                json.dumps(change.detail, default=str),
            )
        )
    return rows, transitions
