"""One date of one domain, from its claim to DONE: Silver, checks, Gold, checks, warehouse, correction ledger.

This is the order of things; each thing itself belongs to `claim`, spark_jobs, `audit` and `warehouse.load`. Two layers
are compared once: what blocks here is part of the date's audit at the end. Dagster is not imported: a run and a test
process a date alike.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import DeltaError

from audit.checks import check_silver
from audit.date_check import check_audit
from audit.report import CheckOutcome, Stage, StageResult
from audit.stages import gold_to_warehouse
from audit.stages.silver_to_gold import compare as compare_gold
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError, PlatformError, TransientError
from platform_core.lake.corrections import Correction, CorrectionLedger, RowChange, correction_id, difference
from platform_core.lake.delta_rows import read_date
from platform_core.lake.duckdb_memory import late_duckdb
from platform_core.lake.key_versions import KeyVersions, Moves
from platform_core.lake.lake_errors import answering, in_one_line, outage
from platform_core.partitions.partition_state import State
from processing.claim import Claimed, Claims, Skipped, gold_versions
from processing.context import RunContext
from processing.lease import Lease
from processing.touched_keys import ByTouchedKeys, by_touched_keys
from warehouse.load import Connection, GoldPartition, TableLoad, load_date

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_jobs.bronze_to_silver import SilverResult
    from spark_jobs.silver_to_gold import GoldResult

log = logging.getLogger(__name__)

_VALUE = re.compile(r"'[^']*'")
"""A value in DuckDB's messages, which may be a person's."""


class BlockingCheckFailedError(PermanentError):
    """A blocking check failed: what comes after it keeps the rows it had."""


@dataclass(frozen=True)
class SilverDone:
    """Silver of the date is written, or refused, and checked.

    Attributes:
        way: How a date that was DONE was processed again, as a sentence; nothing for a first time.
    """

    day: date
    result: SilverResult
    checks: list[CheckOutcome]
    way: str = ""


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
class Noted:
    """What a person reads in the run's log: the date is DONE, or what its correction changed."""

    day: date
    text: str


@dataclass(frozen=True)
class Failed:
    """The date is FAILED in partition_meta; the dates after it still run."""

    day: date
    error: Exception


Step = Claimed | SilverDone | GoldDone | WarehouseDone | Noted | Skipped | Failed


@contextmanager
def sql_of_the_domain(domain: Domain) -> Iterator[None]:
    """Name the domain and its file where DuckDB refuses SQL that somebody wrote there: it would do so again.

    Raises:
        PermanentError: an aggregate is no SQL, names no column, or cannot be computed from the rows.
    """
    try:
        yield
    except (late_duckdb().ProgrammingError, late_duckdb().DataError) as error:
        raise PermanentError(
            f"Domain `{domain.name}`, `gold.reconcile` or `quality.source.silver` in domains.yaml:"
            f" {_VALUE.sub('…', str(error).splitlines()[0])}. Correct the aggregate, then reset the date."
        ) from error


class Processor:
    """Processes dates of one domain on behalf of one run.

    Args:
        run: The run.
        claims: Takes dates for the run and gives them back.
        spark: A session for all dates of the run.
        warehouse: Opens a warehouse connection with a query tag.
    """

    def __init__(
        self,
        run: RunContext,
        claims: Claims,
        spark: SparkSession,
        warehouse: Callable[[str], AbstractContextManager[Connection]],
    ) -> None:
        self._run = run
        self._domain = run.domain
        self._lake = run.lake
        self._claims = claims
        self._spark = spark
        self._warehouse = warehouse
        self._prepared: set[str] = set()

    def process(self, day: date) -> Iterator[Step]:
        """Process one date, yielding each step as it is finished.

        The last step notes that the date is DONE, or is `Skipped` or `Failed`; an error of the date is yielded, not
        raised. An interruption (a cancelled run) frees the date and is raised.
        """
        try:
            claim = self._claims.claim(day)
        except Exception as error:  # whatever it is, it is this date's: the run's others are still tried
            log.exception("date_not_claimed domain=%s date=%s", self._domain.name, day)
            yield Failed(day, error)
            return
        yield claim
        if isinstance(claim, Skipped):
            return
        lease = Lease(self._run, day, self._spark.interruptAll)
        try:
            with lease, answering(self._lake.root, "read or written"):
                silver, loads, audited = yield from self._layers(claim, lease)
            unexplained = audited.facts["problems"] if audited.blocks else []
            self._claims.finish(day, silver, sum(load.rows for load in loads), unexplained)
            yield Noted(day, State.DONE)
        except Exception as error:
            log.exception("date_failed domain=%s date=%s", self._domain.name, day)
            cause = lease.timed_out or error  # an interrupted query says only that it was interrupted
            try:
                self._claims.abandon(day, cause)
            except Exception:  # the store is out: the lease expires, and discovery frees the date
                log.exception("date_not_freed domain=%s date=%s", self._domain.name, day)
            yield Failed(day, cause)
        except BaseException:
            self._claims.abandon(day, PlatformError("The run was cancelled or interrupted."))
            raise

    def _layers(
        self, claim: Claimed, lease: Lease
    ) -> Generator[Step, None, tuple[SilverResult, list[TableLoad], CheckOutcome]]:
        silver, audited_silver, moves = yield from self._silver(claim, lease)
        lease.check()
        gold, partitions = yield from self._merge_gold(claim.day)
        lease.check()
        loads, audited = yield from self._load(claim, partitions, audited_silver, gold, moves)
        if claim.reprocess is not None:
            yield self._record_correction(claim, silver, partitions)
        lease.check()
        return silver, loads, audited

    def _silver(
        self, claim: Claimed, lease: Lease
    ) -> Generator[Step, None, tuple[SilverResult, StageResult | None, list[Moves]]]:
        """Correct Silver by the keys of the new files where that is allowed and proven, else make the whole date."""
        from spark_jobs import bronze_to_silver

        day, domain, lake, moves = claim.day, self._domain, self._lake, list[Moves]()
        way, silver, audited = "", None, None
        if claim.reprocess is not None:
            outcome = by_touched_keys(self._spark, lake, domain, claim, lease.check)
            way = str(outcome)
            log.info("date_corrected domain=%s date=%s way=%s", domain.name, day, way)
            if isinstance(outcome, ByTouchedKeys):
                silver, audited = outcome.silver, outcome.audited
        if silver is None:
            lease.check()
            silver = bronze_to_silver.run(self._spark, lake, domain, day, claim.files, moves.append)
        dsn = self._run.settings.postgres_dsn.get_secret_value()
        with sql_of_the_domain(domain):
            checks = check_silver(lake, domain, day, silver, self._run.partitions, dsn, audited)
        yield SilverDone(day, silver, checks, way)
        self._stop_if_blocked(checks)
        return silver, audited, moves

    def _merge_gold(self, day: date) -> Generator[Step, None, tuple[StageResult, list[GoldPartition]]]:
        """Merge what the checks have passed: whatever kills a run, Gold never has rows that they would refuse."""
        from spark_jobs import silver_to_gold

        before, judged = gold_versions(self._lake, self._domain), dict[str, pa.Table]()
        compared = StageResult(Stage.GOLD, self._domain.name, day)

        def judge(rows: Mapping[str, pa.Table]) -> None:
            nonlocal compared
            judged.update(rows)
            with sql_of_the_domain(self._domain):
                compared = compare_gold(self._lake, self._domain, day, rows)
            self._stop_if_blocked(compared.checks)

        try:
            gold = silver_to_gold.run(self._spark, self._lake, self._domain, day, judge)
        except BlockingCheckFailedError:
            yield GoldDone(day, silver_to_gold.GoldResult(), list(compared.checks))
            raise
        partitions = [self._gold_partition(table, day) for table in self._domain.gold.tables]
        self._refuse_other_rows(day, judged, partitions, before)
        yield GoldDone(day, gold, list(compared.checks))
        return compared, partitions

    def _refuse_other_rows(
        self, day: date, judged: Mapping[str, pa.Table], merged: Sequence[GoldPartition], before: Mapping[str, int]
    ) -> None:
        """Take the date back when a table has other rows than were judged."""
        for part in merged:
            if any(row.change != "none" for row in difference(judged[part.table], part.data, part.keys)):
                self._withdraw_gold(before)
                raise TransientError(
                    f"Gold table `{part.table}` {day} has other rows than were merged, and was taken back. Look for a"
                    " second writer of the table; the date is tried again."
                )

    def _load(
        self,
        claim: Claimed,
        partitions: list[GoldPartition],
        silver: StageResult | None,
        gold: StageResult,
        moves: Sequence[Moves],
    ) -> Generator[Step, None, tuple[list[TableLoad], CheckOutcome]]:
        day, domain, run = claim.day, self._domain, self._run
        started = time.monotonic()
        with self._warehouse(f"pdp:{domain.name}:{day}:{run.run_id}") as connection:
            loads = load_date(
                connection,
                database=run.settings.snowflake_database,
                schema=domain.warehouse_schema,
                domain=domain.name,
                day=day,
                run_id=run.run_id,
                partitions=partitions,
                prepared=self._prepared,
            )
        for each in moves:
            # The other dates first: after a kill in between, this date runs again and finds the same ones.
            self._claims.rows_moved(day, each.dates)
            KeyVersions(self._lake, domain).replace(day, each.versions)
        loaded = gold_to_warehouse.of_loads(domain, day, loads)
        audited = check_audit(self._lake, domain, day, claim.files, (gold, loaded), silver)
        yield WarehouseDone(day, loads, [*loaded.checks, audited], time.monotonic() - started)
        return loads, audited

    def _record_correction(self, claim: Claimed, silver: SilverResult, after: list[GoldPartition]) -> Noted:
        why = claim.reprocess
        assert why is not None
        lines = [
            Correction(
                correction_id=correction_id(self._domain.name, claim.day, why.last_done),
                domain=self._domain.name,
                partition_date=claim.day,
                at=self._run.clock.now(),
                run_id=self._run.run_id,
                cause=why.cause,
                new_files=why.new_files,
                gone_files=why.gone_files,
                record_difference=silver.bronze_rows - why.records_before,
                gold_table=gold.table,
                change=row.change,
                key=row.key,
                before=row.before,
                after=row.after,
            )
            for gold in after
            for row in self._changes(gold, claim.day, why.gold_versions.get(gold.table))
        ]
        CorrectionLedger(self._lake).record(lines)
        changed = sum(line.change != "none" for line in lines)
        return Noted(claim.day, f"{changed} Gold rows changed by {why.cause}")

    def _withdraw_gold(self, versions: Mapping[str, int]) -> None:
        """Take back the merges of a date: this run is the only writer of the tables."""
        from spark_jobs.writing import tables

        for table in self._domain.gold.tables:
            tables.take_back(self._lake, self._lake.gold(self._domain, table), versions.get(table))

    def _changes(self, gold: GoldPartition, day: date, version: int | None) -> list[RowChange]:
        """Return what differs from a version of the table; from none, when an aggregation did not exist then."""
        if version is None:
            return difference(gold.data.schema.empty_table(), gold.data, gold.keys)
        try:
            before = self._gold(gold.table, day, version)
        except (OSError, DeltaError) as error:
            if kind := outage(error):
                raise kind(f"The lake did not give version {version} of {gold.table}: {in_one_line(error)}") from error
            # A date may wait for its correction for longer than Delta keeps versions; it is loaded by now.
            log.warning("correction_unknown table=%s version=%s error=%s", gold.table, version, error)
            return [RowChange("unknown", "{}", None, None)]
        return difference(before, gold.data, gold.keys)

    def _gold(self, table: str, day: date, version: int | None = None) -> pa.Table:
        delta = self._lake.delta(self._lake.gold(self._domain, table), version)
        return read_date(self._lake, delta, self._domain.partition_key, day)

    def _gold_partition(self, table: str, day: date) -> GoldPartition:
        return GoldPartition(table, self._domain.gold.tables[table], self._gold(table, day))

    def _stop_if_blocked(self, checks: Sequence[CheckOutcome]) -> None:
        failed = [check for check in checks if check.blocks]
        if failed:
            what = "; ".join(f"{c.layer}/{c.table} `{c.name}`: {c.facts}" for c in failed)
            raise BlockingCheckFailedError(
                f"Blocking checks failed, so nothing downstream was changed: {what}. Look at the quarantine"
                f" (`pdp quarantine list {self._domain.name}`) and at the rule in domains.yaml, then reprocess the"
                " date.",
            )
