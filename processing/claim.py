"""Taking a date for a run, and giving it back: the transitions around the work, and what is remembered of them.

What is done with a date between claim and success belongs to `processing`, which transitions are legal to
`platform_core.partitions.partition_state`. Dagster is not imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.domain.code_version import code_version
from platform_core.errors import PermanentError, ServiceDownError, TransientError
from platform_core.lake.lake import Lake
from platform_core.partitions.fingerprint import file_hash
from platform_core.partitions.partition_meta import (
    UNEXPLAINED,
    Change,
    Partition,
    StateConflictError,
    Transition,
    attempts_since_done,
    gold_before,
    since_done,
)
from platform_core.partitions.partition_state import STARTABLE, Event, State
from platform_core.partitions.plan import lost_run
from processing.context import RunContext
from processing.last_done import COUNTS, LastDone, last_done

if TYPE_CHECKING:
    from spark_jobs.bronze_to_silver import SilverResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reprocess:
    """How a date differs from when it was last DONE, however many attempts have failed since.

    Attributes:
        last_done: When it was last DONE, UTC.
        gold_versions: Delta version of each Gold table before the first attempt since then.
        new_files: Bronze files that have come.
        gone_files: Bronze files that have gone.
        records_before: Bronze records that were read then.
        cause: Why it is processed again, for the correction ledger.
    """

    last_done: datetime
    gold_versions: dict[str, int]
    new_files: int
    gone_files: int
    records_before: int
    cause: str


@dataclass(frozen=True)
class Claimed:
    """The date belongs to this run.

    Attributes:
        files: The pinned Bronze files, lake-relative.
        fingerprint: md5 of the files.
        was: The state before the claim.
        reprocess: What has changed since the last success; None for a first time.
        last_done: What a correction by touched keys may build on; why it may not, or nothing for a first time.
    """

    day: date
    files: tuple[str, ...]
    fingerprint: str
    was: State
    reprocess: Reprocess | None
    last_done: LastDone | str = ""


@dataclass(frozen=True)
class Skipped:
    """Nothing was done for the date, and that is right."""

    day: date
    reason: str


class Claims:
    """Claims and frees dates of one domain on behalf of one run.

    Args:
        run: The run.
        is_running: Whether another run's id is still queued or running.
        end_session: Ends the engine's session of a run that is gone.
    """

    def __init__(self, run: RunContext, is_running: Callable[[str], bool], end_session: Callable[[str], None]) -> None:
        self._run = run
        self._domain = run.domain
        self._is_running = is_running
        self._end_session = end_session
        self._code = code_version(run.domain)
        self._ended: set[str] = set()

    def claim(self, day: date) -> Claimed | Skipped:
        """Make the date IN_FLIGHT for this run, with the Bronze files of this moment pinned.

        Raises:
            StateConflictError: another run holds the date.
            PermanentError: Bronze has lost files that the date was made of; it keeps what is published.
            TransientError: Bronze or partition_meta did not answer.
        """
        name = self._domain.name
        row = self._run.partitions.get(name, day)  # before the listing: what another run pins meanwhile is not lost
        files = tuple(file.name for file in self._run.lake.list_date(self._domain, day))
        if gone := sorted(set(row.source_files if row else ()) - set(files)):
            if self._run.partitions.get(name, day) != row:
                raise TransientError(
                    f"Domain `{name}` {day} has changed while its files were listed. It is tried again."
                )
            raise PermanentError(
                f"Bronze of domain `{name}`, {day}, has lost {counted(len(gone), 'file')},"
                f" first `{self._run.lake.uri(gone[0])}`."
                " The date keeps what is published. Restore the files; if their rows are to go, accept the loss:"
                f" pdp partitions reset {name} {day} --accept-loss"
            )
        if not files:
            return Skipped(day, f"Bronze of domain `{name}` has no file for {day}.")
        if self._run.discovered and (row is None or row.status not in STARTABLE):
            return Skipped(day, f"It is {row.status if row else State.UNDISCOVERED}: another run took care of it.")
        way, startable = self._way_to_startable(day, row)
        history = self._history(row)
        reprocess, detail = self._difference(row, files, history)
        fingerprint = file_hash(files)
        self._end_what_a_dead_run_left(row)
        self._run.partitions.apply(
            [
                *way,
                Change(
                    name,
                    day,
                    startable,
                    Event.RUN_STARTED,
                    run_id=self._run.run_id,
                    set={"run_id": self._run.run_id, "source_files": files, "file_hash": fingerprint},
                    detail=detail,
                ),
            ]
        )
        before = last_done(self._run, row, files, history, self._code) if row is not None and reprocess else ""
        return Claimed(day, files, fingerprint, row.status if row else State.UNDISCOVERED, reprocess, before)

    def finish(
        self, day: date, silver: SilverResult, gold_rows: int, unexplained: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Make the date DONE.

        Args:
            unexplained: The audit's problems, of which the history keeps the kinds: an alert follows.

        Raises:
            StateConflictError: it no longer belongs to this run.
        """
        columns = {
            "record_count": silver.bronze_rows,
            "silver_records": silver.silver_rows,
            "gold_records": gold_rows,
            "retry_count": 0,
            "error_message": None,
            "processed_at": self._run.clock.now(),
            "silver_path": self._run.lake.uri(self._run.lake.silver(self._domain)),
            "gold_path": self._run.lake.uri(self._run.lake.gold(self._domain, "").rstrip("/")),
        }
        counts = {"bronze": silver.bronze_rows, "silver": silver.silver_rows, "gold": gold_rows}
        problems = ", ".join(f"{problem['stage']} {problem['kind']} {problem['count']}" for problem in unexplained)
        whole = {name: value for name, value in asdict(silver).items() if name not in ("published", "seconds")}
        detail = {**counts, "code": self._code, COUNTS: whole, **({UNEXPLAINED: problems} if problems else {})}
        self._run.partitions.apply([self._own(day, Event.SUCCEEDED, columns, detail)])

    def rows_moved(self, day: date, dates: Mapping[date, int]) -> None:
        """Make other dates LATE whose rows the versions of this date change; one that waits for a run is left to it.

        One run a domain works at a time: a date that is IN_FLIGHT beside this one is a dead run's, and is retried.

        Args:
            dates: The dates, and how many rows each loses or gets back.
        """
        for other, count in sorted(dates.items()):
            detail = {"moved_rows": count, "moved_by": day.isoformat()}
            with suppress(StateConflictError):
                self._run.partitions.apply(
                    [Change(self._domain.name, other, State.DONE, Event.ROWS_MOVED, detail=detail)]
                )

    def abandon(self, day: date, error: Exception) -> None:
        """Make the date FAILED; a date that was taken over stays as it is.

        A permanent error leaves it no retry. A service that is down costs none: the date is tried again, after the
        longest pause, until the service is back.
        """
        changed: dict[str, Any] = {"error_message": f"{type(error).__name__}: {error}"[:4000]}
        detail: dict[str, Any] = {"error": type(error).__name__}
        if isinstance(error, PermanentError):
            changed["retry_count"] = self._domain.max_retries  # the same input fails again: no retry, DEAD next
        elif isinstance(error, ServiceDownError):
            row = self._run.partitions.get(self._domain.name, day)
            changed["retry_count"] = max(min(row.retry_count if row else 0, self._domain.max_retries - 1), 0)
            detail["service_down"] = True
        try:
            self._run.partitions.apply([self._own(day, Event.RUN_FAILED, changed, detail)])
        except StateConflictError:
            log.warning("claim_lost domain=%s date=%s run=%s", self._domain.name, day, self._run.run_id)

    def _own(self, day: date, event: Event, changed: dict[str, Any], detail: dict[str, Any]) -> Change:
        return Change(
            self._domain.name, day, State.IN_FLIGHT, event, run_id=self._run.run_id, set=changed, detail=detail
        )

    def _way_to_startable(self, day: date, row: Partition | None) -> tuple[list[Change], State]:
        """Return the transitions that must come before the start, and the state that they lead to."""
        name = self._domain.name
        if row is None:
            return [Change(name, day, State.UNDISCOVERED, Event.FILES_FOUND)], State.PENDING
        if row.status in STARTABLE:
            return [], row.status
        if row.status is State.LATE:
            return [Change(name, day, State.LATE, Event.QUEUED)], State.REPROCESSING
        cause = {"cause": "backfill", "by": f"run {self._run.run_id}"}
        if row.status is not State.IN_FLIGHT:
            # A date that is DONE stays so while its files are compacted: those that were listed may be replaced.
            again = Change(
                name, day, row.status, Event.RESET, made_of=row.file_hash, set={"retry_count": 0}, detail=cause
            )
            return [again], State.PENDING
        if row.run_id is not None and row.run_id != self._run.run_id and self._is_running(row.run_id):
            raise StateConflictError(
                f"Domain `{name}` {day} is being processed by run {row.run_id}. Wait for it or cancel it first.",
                row.status,
            )
        reset = Change(name, day, State.FAILED, Event.RESET, set={"retry_count": 0}, detail=cause)
        return [lost_run(row, "another run took the date over"), reset], State.PENDING

    def _history(self, row: Partition | None) -> Sequence[Transition]:
        """Return the transitions of a date that was DONE before; of another one nobody asks."""
        if row is None or row.processed_at is None:
            return ()
        return self._run.partitions.history(row.domain, row.partition_date)

    def _difference(
        self, row: Partition | None, files: Sequence[str], history: Sequence[Transition]
    ) -> tuple[Reprocess | None, dict[str, Any]]:
        """Return what has changed since the last success, and the claim's detail for the history."""
        new, gone = len(set(files) - set(row.source_files if row else ())), 0
        detail: dict[str, Any] = {"files": len(files), "new_files": new, "gone_files": gone, "code": self._code}
        if row is None or row.processed_at is None:
            return None, detail
        done, since = since_done(history)
        attempts = [t.facts for t in attempts_since_done(history)]
        if attempts:
            # A failed attempt pinned its files already: count on from what it found.
            new += attempts[-1].get("new_files", 0)
        gone = sum(t.facts.get("gone_files", 0) for t in since if t.event == Event.RESET)  # a loss that was accepted
        versions = gold_before(history)
        if versions is None:
            versions = gold_versions(self._run.lake, self._domain)
        reprocess = Reprocess(
            last_done=row.processed_at,
            gold_versions=versions,
            new_files=new,
            gone_files=gone,
            records_before=row.record_count or 0,
            cause=self._cause(done, since, changed=new > 0),
        )
        return reprocess, {**detail, "new_files": new, "gone_files": gone, "gold_before": versions}

    def _cause(self, done: Transition | None, since: Sequence[Transition], *, changed: bool) -> str:
        causes = ["late files"] if changed else []
        causes += ["rows moved"] if any(t.event == Event.ROWS_MOVED for t in since) else []
        code = done.facts.get("code") if done else None
        if code is not None and code != self._code:
            causes.append("code change")
        resets = [t.facts.get("cause", "reset") for t in since if t.event == Event.RESET]
        causes += dict.fromkeys(resets)
        # What neither Bronze, nor the code, nor the history explains was asked for: by a run of the UI, or by SQL.
        return " + ".join(causes) or "backfill"

    def _end_what_a_dead_run_left(self, row: Partition | None) -> None:
        if row is None or row.run_id in (None, self._run.run_id, *self._ended):
            return
        if row.status in (State.DONE, State.LATE, State.REPROCESSING):
            return  # that run ended well, and its session with it
        self._ended.add(str(row.run_id))
        try:
            self._end_session(str(row.run_id))
        except Exception as error:  # an engine that was restarted knows no such session, which is as good
            log.warning("session_not_ended run=%s error=%s", row.run_id, error)


def gold_versions(lake: Lake, domain: Domain) -> dict[str, int]:
    """Return the Delta version of each Gold table of a domain that exists."""
    tables = {table: lake.delta_or_none(lake.gold(domain, table)) for table in domain.gold.tables}
    return {table: delta.version() for table, delta in tables.items() if delta is not None}
