"""A correction of one date by the keys that its new files touch: read, judge, write, and prove it before Gold is made.

What is judged and written belongs to `spark_jobs.correction.touched_keys`, the proof to the audit, whether the date's
history allows it to `processing.last_done`. Whatever is in the way, the date is processed as a whole in the same run,
which replaces all that was written here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import DeltaError

from audit.bronze_of_date import bronze_of_date
from audit.report import AuditReport, Reason, StageResult
from audit.stages.bronze_to_silver import compare_with
from platform_core.counted import counted
from platform_core.domain.catalog import Domain
from platform_core.errors import PermanentError
from platform_core.lake.duckdb_memory import late_duckdb
from platform_core.lake.lake import Lake
from processing.claim import Claimed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_jobs.bronze_to_silver import SilverResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ByTouchedKeys:
    """Silver of a date was corrected by the keys of its new files.

    Attributes:
        silver: What the date is now, as a whole.
        audited: The comparison of all of its Bronze with it.
        files: How many files were new.
        rows: How many rows they had.
        earlier: How many earlier rows have a key of theirs.
    """

    silver: SilverResult
    audited: StageResult
    files: int
    rows: int
    earlier: int

    def __str__(self) -> str:
        return (
            f"corrected by the keys of {counted(self.rows, 'row')} in {counted(self.files, 'new file')},"
            f" which {counted(self.earlier, 'earlier row')} had"
        )


@dataclass(frozen=True)
class AsAWhole:
    """The date is to be processed as a whole.

    Attributes:
        reason: Why, as the end of a sentence.
    """

    reason: str

    def __str__(self) -> str:
        return f"processed as a whole: {self.reason}"


def by_touched_keys(
    spark: SparkSession, lake: Lake, domain: Domain, claim: Claimed, may_write: Callable[[], object]
) -> ByTouchedKeys | AsAWhole:
    """Correct Silver and the quarantine of a date by the keys of its new files, and compare the date with its Bronze.

    Args:
        claim: The date, with what its last success was.
        may_write: Called before each write; what it raises ends the date's processing.

    Raises:
        TransientError: the engine or the store failed.
    """
    if isinstance(claim.last_done, str):
        return AsAWhole(claim.last_done)
    from spark_jobs.correction.touched_keys import WholeDateNeededError

    try:
        return _corrected(spark, lake, domain, claim, may_write)
    except WholeDateNeededError as reason:
        return AsAWhole(str(reason))
    except (PermanentError, pa.ArrowException, late_duckdb().Error, DeltaError, ArithmeticError, ValueError) as error:
        # The whole date meets it again, and then it is said with all that a person needs; or it does not.
        log.warning("not_by_touched_keys domain=%s date=%s", domain.name, claim.day, exc_info=True)
        return AsAWhole(f"{type(error).__name__}")


def _corrected(
    spark: SparkSession, lake: Lake, domain: Domain, claim: Claimed, may_write: Callable[[], object]
) -> ByTouchedKeys:
    from spark_jobs.bronze_to_silver import SilverResult
    from spark_jobs.correction import touched_keys
    from spark_jobs.correction.touched_keys import WholeDateNeededError

    last, day = claim.last_done, claim.day
    assert not isinstance(last, str)
    try:
        before = SilverResult(**last.counts, published=True)
    except TypeError:
        raise WholeDateNeededError("another version of the platform has counted its rows") from None
    new = touched_keys.new_rows(lake, domain, day, last.new_files, before)
    with bronze_of_date(lake, domain, day, last.files, last.new_files) as bronze:
        origins = bronze.of_later_keys()
        if bronze.rows != before.bronze_rows + new.rows.num_rows:
            raise WholeDateNeededError(
                f"its files have {bronze.rows} rows, and not {before.bronze_rows} and {new.rows.num_rows} new ones"
            )
        earlier = touched_keys.earlier_rows(lake, domain, last.files, new.rows, origins)
        silver = touched_keys.run(spark, lake, domain, day, earlier, new, before, may_write)
        audited = compare_with(bronze)
    if objection := _unproven(audited, silver):
        raise WholeDateNeededError(f"the audit of the corrected date does not agree: {objection}")
    return ByTouchedKeys(silver, audited, len(last.new_files), new.rows.num_rows, earlier.num_rows)


def _unproven(audited: StageResult, silver: SilverResult) -> str:
    """Return what the audit, which knows the files and the tables alone, has otherwise than the counts; or nothing."""
    if not AuditReport((audited,)).clean:
        return "; ".join(f"{problem.count} {problem.kind}" for problem in audited.problems) or "it is not clean"
    [equation] = audited.equations
    expected = {
        "silver": silver.silver_rows,
        Reason.OLDER_VERSION: silver.key_duplicates,
        Reason.DELIVERED_AGAIN: silver.offset_duplicates,
        Reason.QUARANTINED: sum(silver.quarantined.values()),
    }
    different = [
        f"{name} {equation.parts.get(name, 0)}, not {count}"
        for name, count in expected.items()
        if equation.parts.get(name, 0) != count
    ]
    return "; ".join(different)
