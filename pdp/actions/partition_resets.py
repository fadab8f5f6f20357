"""What an operator asks of partitions: reset, revive, backfill; planned as a pure function, then carried out.

Planning says for each date what happens and why, so that a dry run shows exactly what the real one does. Who asks and
how the answer is shown belongs to the command line, which transitions are legal to `partition_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from platform_core.counted import counted
from platform_core.errors import PermanentError
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import Change, Partition, PartitionMetaStore, StateConflictError
from platform_core.partitions.partition_state import Event, State

TROUBLED = frozenset({State.FAILED, State.DEAD})
"""The states that a date reaches by failing."""


NO_FILE_LEFT = "Bronze has no file of it, so there is nothing to process; what is published stays"


class Verdict(StrEnum):
    """What becomes of one date that an operator asked for."""

    RESET = "reset"
    WAITING = "waiting"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True)
class ResetOutcome:
    """What becomes of one date.

    Attributes:
        before: The state that it was in; `UNDISCOVERED` when it has no row.
        verdict: `reset`; `waiting` when it is on its way to a run already; `skipped` when there is nothing to do;
            `refused` when what was asked cannot be done.
        reason: Why it is not reset, and what to do; empty for a reset.
        run_id: The run that holds the date while it is IN_FLIGHT.
        change: The change that resets it.
    """

    domain: str
    day: date
    before: State
    verdict: Verdict
    reason: str = ""
    run_id: str | None = None
    change: Change | None = field(default=None, repr=False)

    @property
    def after(self) -> State:
        """The state that the date has once the outcome is carried out."""
        return State.PENDING if self.verdict is Verdict.RESET else self.before


def reset(
    domain: str,
    days: Iterable[date],
    rows: Mapping[date, Partition],
    detail: Mapping[str, Any],
    *,
    force: bool = False,
    repeat: bool = False,
) -> list[ResetOutcome]:
    """Plan to process dates again from the start, with their retries counted from zero.

    Args:
        rows: The domain's rows by date.
        detail: What the history remembers: at least `cause` and `by`.
        force: Take a date away from the run that holds it; whatever that run still reports is refused.
        repeat: Reset a date that is PENDING already, too.
    """
    reason = "it has no row; discovery makes one as soon as the sink has written Bronze files of this date"
    outcomes = []
    for day in sorted(set(days)):
        row = rows.get(day)
        no_row = _left(domain, day, None, Verdict.REFUSED, reason)
        outcomes.append(no_row if row is None else _again(row, detail, force=force, repeat=repeat))
    return outcomes


def revive(
    domain: str, days: Collection[date] | None, rows: Mapping[date, Partition], detail: Mapping[str, Any]
) -> list[ResetOutcome]:
    """Plan to give DEAD dates another life.

    Args:
        days: The dates; None for every DEAD date of the domain.
        rows: The domain's rows by date.
        detail: What the history remembers: at least `cause` and `by`.
    """
    outcomes = []
    for day in sorted(set(days) if days is not None else (day for day in rows if rows[day].status is State.DEAD)):
        row = rows.get(day)
        if row is not None and row.status is State.DEAD:
            outcomes.append(_reset(row, detail))
        else:
            state = row.status if row else State.UNDISCOVERED
            reason = f"it is {state}, not DEAD; `reset` starts a date again from any state"
            outcomes.append(_left(domain, day, row, Verdict.REFUSED, reason))
    return outcomes


def backfill(
    domain: str,
    first: date,
    last: date,
    rows: Mapping[date, Partition],
    bronze: Collection[date],
    detail: Mapping[str, Any],
    *,
    only_failed: bool = False,
) -> list[ResetOutcome]:
    """Plan to process a range of dates again.

    A date without Bronze is never reset, even if it has a row: no run could end its PENDING.

    Args:
        first: The range's first date.
        last: The range's last date, included.
        rows: The domain's rows by date.
        bronze: The dates that have Bronze files.
        detail: What the history remembers: at least `cause` and `by`.
        only_failed: Touch FAILED and DEAD dates only.
    """
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [_backfilled(domain, day, rows.get(day), day in bronze, detail, only_failed) for day in days]


def _backfilled(
    domain: str, day: date, row: Partition | None, has_bronze: bool, detail: Mapping[str, Any], only_failed: bool
) -> ResetOutcome:
    if not has_bronze and row is None:
        return _left(domain, day, row, Verdict.SKIPPED, "no Bronze files: there is nothing to process")
    if only_failed and (row is None or row.status not in TROUBLED):
        return _left(domain, day, row, Verdict.SKIPPED, "neither FAILED nor DEAD")
    if not has_bronze:  # a row is made only where files are: they were lost
        return _left(domain, day, row, Verdict.REFUSED, NO_FILE_LEFT)
    if row is None:
        return _left(domain, day, row, Verdict.WAITING, "no row yet; discovery finds its files by itself")
    return _again(row, detail)


def guard_bronze(
    outcomes: Iterable[ResetOutcome],
    start: date,
    pinned: Callable[[date], Collection[str]],
    listed: Callable[[date], Collection[str]],
    *,
    accept_loss: bool = False,
) -> list[ResetOutcome]:
    """Refuse the resets that no run could end, and those of dates that Bronze has lost files of, or may have.

    Args:
        outcomes: A plan for dates of one domain.
        start: The domain's first date.
        pinned: Returns the files that a date was made of.
        listed: Returns the files that Bronze has of it now.
        accept_loss: Take the files that are left for all there is; rows of the others leave what is published.
    """
    guarded = []
    for outcome in outcomes:
        if outcome.change is None:
            guarded.append(outcome)
            continue
        try:
            before, now = set(pinned(outcome.day)), set(listed(outcome.day))
        except PermanentError as error:  # nobody knows which files count
            guarded.append(replace(outcome, verdict=Verdict.REFUSED, reason=error.message, change=None))
            continue
        gone, kept, reason, change = sorted(before - now), tuple(sorted(before & now)), "", outcome.change
        if outcome.day < start:
            reason = f"it is before the domain's start_date, {start}"
        elif not now:
            reason = NO_FILE_LEFT
        elif gone and not accept_loss:
            lost = f"{counted(len(gone), 'file')}, first `{gone[0]}`"
            accept = f"pdp partitions reset {outcome.domain} {outcome.day} --accept-loss"
            reason = f"Bronze has lost {lost}: restore them, or accept the loss: {accept}"
        elif gone:
            files = {"source_files": kept, "file_hash": file_hash(kept)}
            loss = {"cause": "loss accepted", "gone_files": len(gone)}
            change = replace(change, set={**change.set, **files}, detail={**change.detail, **loss})
        refused = replace(outcome, verdict=Verdict.REFUSED, reason=reason, change=None)
        guarded.append(refused if reason else replace(outcome, change=change))
    return guarded


def carry_out(store: PartitionMetaStore, outcomes: Sequence[ResetOutcome]) -> list[ResetOutcome]:
    """Make the changes of a plan, one date at a time, and return what really happened.

    A date that somebody else changed since the plan was made becomes `refused`; the others are not stopped by it.

    Args:
        store: Where the rows lie.
        outcomes: A plan.
    """
    done = []
    for outcome in outcomes:
        if outcome.change is not None:
            try:
                store.apply([outcome.change])
            except StateConflictError as conflict:
                state = conflict.state
                outcome = replace(
                    outcome,
                    before=state,
                    verdict=Verdict.REFUSED,
                    reason=f"it became {state} a moment ago; look at its history and try again",
                    change=None,
                )
        done.append(outcome)
    return done


def _again(row: Partition, detail: Mapping[str, Any], *, force: bool = False, repeat: bool = False) -> ResetOutcome:
    if row.status is State.IN_FLIGHT and not force:
        reason = f"run `{row.run_id}` holds it; cancel that run in the UI first, or wait for its end"
        return _left(row.domain, row.partition_date, row, Verdict.REFUSED, reason)
    # A reset would only hide why the row is PENDING.
    if row.status is State.PENDING and row.retry_count == 0 and row.error_message is None and not repeat:
        return _left(row.domain, row.partition_date, row, Verdict.WAITING, "it is PENDING already")
    return _reset(row, detail)


def _left(domain: str, day: date, row: Partition | None, verdict: Verdict, reason: str) -> ResetOutcome:
    """Return the outcome of a date that stays as it is."""
    state = row.status if row else State.UNDISCOVERED
    held_by = row.run_id if row and state is State.IN_FLIGHT else None
    return ResetOutcome(domain, day, state, verdict, reason, run_id=held_by)


def _reset(row: Partition, detail: Mapping[str, Any]) -> ResetOutcome:
    change = Change(
        row.domain,
        row.partition_date,
        row.status,
        Event.RESET,
        set={"retry_count": 0, "error_message": None},
        detail=dict(detail),
    )
    return ResetOutcome(row.domain, row.partition_date, row.status, Verdict.RESET, run_id=row.run_id, change=change)
