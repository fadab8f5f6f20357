"""One date of one domain, from its claim in partition_meta to DONE: Silver, checks, Gold, checks, warehouse.

This is the order of things and who may do them; each thing itself belongs to spark_jobs, `checks` and
`warehouse.load`. Dagster is not imported: a run, a test and a command line process a date alike.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from platform_assets.checks import CheckOutcome, check_gold, check_silver
from platform_assets.warehouse.load import Connection, GoldPartition, TableLoad, load_date
from platform_core.catalog import Domain
from platform_core.discovery import lost_run
from platform_core.errors import PermanentError, PlatformError
from platform_core.fingerprint import file_hash
from platform_core.lake import Lake
from platform_core.partition_meta import Change, Partition, PartitionMetaStore, StateConflictError
from platform_core.partition_state import STARTABLE, Event, State

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_jobs.bronze_to_silver import SilverResult
    from spark_jobs.silver_to_gold import GoldResult

log = logging.getLogger(__name__)


class BlockingCheckFailedError(PermanentError):
    """A blocking check failed: what comes after it keeps the rows it had."""


@dataclass(frozen=True)
class Claimed:
    """The date belongs to this run.

    Attributes:
        day: The date.
        files: The pinned Bronze files, lake-relative.
        fingerprint: md5 of the files.
        was: The state before the claim.
    """

    day: date
    files: tuple[str, ...]
    fingerprint: str
    was: State


@dataclass(frozen=True)
class SilverDone:
    """Silver of the date is written and checked."""

    day: date
    result: SilverResult
    checks: list[CheckOutcome]


@dataclass(frozen=True)
class GoldDone:
    """Gold of the date is merged and checked."""

    day: date
    result: GoldResult
    checks: list[CheckOutcome]


@dataclass(frozen=True)
class WarehouseDone:
    """The warehouse has the date."""

    day: date
    loads: list[TableLoad]
    checks: list[CheckOutcome]
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """Nothing was done for the date, and that is right."""

    day: date
    reason: str


@dataclass(frozen=True)
class Failed:
    """The date is FAILED in partition_meta; the dates after it still run."""

    day: date
    error: Exception


Step = Claimed | SilverDone | GoldDone | WarehouseDone | Skipped | Failed


class Processor:
    """Processes dates of one domain on behalf of one run.

    Args:
        domain: The domain.
        lake: Where the layers lie.
        partitions: The partition states.
        spark: A session for all dates of the run.
        warehouse: Opens a warehouse connection with a query tag.
        database: The warehouse's database.
        run_id: The run, written to partition_meta, the ledger and the warehouse's rows.
        is_running: Whether another run's id is still queued or running.
        discovered: Whether discovery launched the run; a person's run reprocesses DONE dates too.
    """

    def __init__(
        self,
        domain: Domain,
        lake: Lake,
        partitions: PartitionMetaStore,
        spark: SparkSession,
        warehouse: Callable[[str], AbstractContextManager[Connection]],
        database: str,
        run_id: str,
        is_running: Callable[[str], bool],
        *,
        discovered: bool,
    ) -> None:
        self._domain = domain
        self._lake = lake
        self._partitions = partitions
        self._spark = spark
        self._warehouse = warehouse
        self._database = database
        self._run_id = run_id
        self._is_running = is_running
        self._discovered = discovered

    def process(self, day: date) -> Iterator[Step]:
        """Process one date, yielding each step as it is finished.

        The last step is `WarehouseDone`, `Skipped` or `Failed`; an error of the date is yielded, not raised. An
        interruption (a cancelled run) frees the date and is raised.
        """
        try:
            claim = self._claim(day)
        except PlatformError as error:
            yield Failed(day, error)
            return
        if isinstance(claim, Skipped):
            yield claim
            return
        yield claim
        try:
            yield from self._layers(claim)
        except Exception as error:
            log.exception("date_failed domain=%s date=%s", self._domain.name, day)
            self._give_up(day, error)
            yield Failed(day, error)
        except BaseException:
            self._give_up(day, PlatformError("The run was cancelled or interrupted."))
            raise

    def _layers(self, claim: Claimed) -> Iterator[Step]:
        from spark_jobs import bronze_to_silver, silver_to_gold

        day, domain, lake = claim.day, self._domain, self._lake
        silver = bronze_to_silver.run(self._spark, lake, domain, day, claim.files)
        checks = check_silver(lake, domain, day, silver)
        yield SilverDone(day, silver, checks)
        self._stop_if_blocked(checks)

        gold = silver_to_gold.run(self._spark, lake, domain, day)
        checks = check_gold(lake, domain, day)
        yield GoldDone(day, gold, checks)
        self._stop_if_blocked(checks)

        started = time.monotonic()
        partitions = [self._gold_partition(table, day) for table in domain.gold.tables]
        with self._warehouse(f"pdp:{domain.name}:{day}:{self._run_id}") as connection:
            loads = load_date(
                connection,
                database=self._database,
                schema=domain.warehouse_schema,
                domain=domain.name,
                day=day,
                run_id=self._run_id,
                partitions=partitions,
            )
        # The load compared rows and exact sums inside its transaction; reaching this line means they were equal.
        facts = {load.table: {"rows": load.rows, "changed": load.changed} for load in loads}
        checks = [CheckOutcome("snowflake", domain.name, "reconciles_with_gold", True, facts)]
        self._finish(day, silver, sum(load.rows for load in loads))
        yield WarehouseDone(day, loads, checks, time.monotonic() - started)

    def _claim(self, day: date) -> Claimed | Skipped:
        """Make the date IN_FLIGHT for this run, with the Bronze files of this moment pinned."""
        name = self._domain.name
        files = tuple(f.name for f in self._lake.list_bronze(self._domain).get(day, ()))
        row = self._partitions.get(name, day)
        if not files:
            return Skipped(day, f"Bronze of domain `{name}` has no file for {day}.")
        if self._discovered and (row is None or row.status not in STARTABLE):
            return Skipped(day, f"It is {row.status if row else State.UNDISCOVERED}: another run took care of it.")
        fingerprint = file_hash(files)
        pinned = {"run_id": self._run_id, "source_files": files, "file_hash": fingerprint}
        changes = self._way_to_startable(day, row)
        startable = changes[-1] if changes else None
        expected = State.PENDING if startable else (row.status if row else State.PENDING)
        if startable and startable.event is Event.QUEUED:
            expected = State.REPROCESSING
        changes.append(
            Change(
                name,
                day,
                expected,
                Event.RUN_STARTED,
                run_id=self._run_id,
                set=pinned,
                detail=_delta(row, files),
            )
        )
        self._partitions.apply(changes)
        return Claimed(day, files, fingerprint, row.status if row else State.UNDISCOVERED)

    def _way_to_startable(self, day: date, row: Partition | None) -> list[Change]:
        name = self._domain.name
        if row is None:
            return [Change(name, day, State.UNDISCOVERED, Event.FILES_FOUND)]
        if row.status in STARTABLE:
            return []
        if row.status is State.LATE:
            return [Change(name, day, State.LATE, Event.QUEUED)]
        reset = Change(name, day, row.status, Event.RESET, set={"retry_count": 0}, detail={"cause": "backfill"})
        if row.status is not State.IN_FLIGHT:
            return [reset]
        if row.run_id and row.run_id != self._run_id and self._is_running(row.run_id):
            raise StateConflictError(
                f"Domain `{name}` {day} is being processed by run {row.run_id}. Wait for it or cancel it first.",
                domain=name,
                day=day,
                owner=row.run_id,
            )
        return [lost_run(row), Change(name, day, State.FAILED, Event.RESET, set={"retry_count": 0})]

    def _finish(self, day: date, silver: SilverResult, gold_rows: int) -> None:
        self._partitions.apply(
            [
                Change(
                    self._domain.name,
                    day,
                    State.IN_FLIGHT,
                    Event.SUCCEEDED,
                    run_id=self._run_id,
                    set={
                        "record_count": silver.bronze_rows,
                        "silver_records": silver.silver_rows,
                        "gold_records": gold_rows,
                        "retry_count": 0,
                        "error_message": None,
                        "processed_at": datetime.now(UTC),
                        "silver_path": self._lake.uri(self._lake.silver(self._domain)),
                        "gold_path": self._lake.uri(self._lake.gold(self._domain, "").rstrip("/")),
                    },
                    detail={"bronze": silver.bronze_rows, "silver": silver.silver_rows, "gold": gold_rows},
                )
            ]
        )

    def _give_up(self, day: date, error: Exception) -> None:
        changed: dict[str, object] = {"error_message": f"{type(error).__name__}: {error}"[:4000]}
        if isinstance(error, PermanentError):
            changed["retry_count"] = self._domain.max_retries  # the same input fails again: no retry, DEAD next
        try:
            self._partitions.apply(
                [
                    Change(
                        self._domain.name,
                        day,
                        State.IN_FLIGHT,
                        Event.RUN_FAILED,
                        run_id=self._run_id,
                        set=changed,
                        detail={"error": type(error).__name__},
                    )
                ]
            )
        except StateConflictError:
            log.warning("claim_lost domain=%s date=%s run=%s", self._domain.name, day, self._run_id)

    def _stop_if_blocked(self, checks: list[CheckOutcome]) -> None:
        failed = [check for check in checks if not check.passed]
        if failed:
            what = "; ".join(f"{c.layer}/{c.table} `{c.name}`: {c.facts}" for c in failed)
            raise BlockingCheckFailedError(
                f"Blocking checks failed, so nothing downstream was changed: {what}. Look at the quarantine table"
                " and the rule in domains.yaml, then reprocess the date.",
                checks=[c.name for c in failed],
            )

    def _gold_partition(self, table: str, day: date) -> GoldPartition:
        delta = DeltaTable(
            self._lake.uri(self._lake.gold(self._domain, table)),
            storage_options=self._lake.storage_options or None,
        )
        data = delta.to_pyarrow_table(filters=[(self._domain.partition_key, "=", day)])
        return GoldPartition(table, self._domain.gold.tables[table], data)


def _delta(row: Partition | None, files: tuple[str, ...]) -> dict[str, object]:
    """What changed in Bronze since the last claim, for the history."""
    before = set(row.source_files) if row else set()
    return {
        "files": len(files),
        "new_files": sorted(set(files) - before)[:50] if before else len(files),
        "gone_files": len(before - set(files)),
    }
