"""Which of a date's rows must be compared: those of odd keys, that have several rows or a bad one.

Of almost every key a date has one row, a good one. Such rows are neither judged a second time nor sorted, and the
others are few enough to come to this process, so that what is asked of them costs an engine next to nothing. What is
asked is in `spark_jobs.steps`; nothing here changes a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame

from platform_core.domain.catalog import Silver
from spark_jobs import steps

FEW_ROWS = 20_000
FEW_BYTES = 32 << 20
"""Up to so much comes here and goes back with each query; both clients end at messages of 128 MiB."""

_COPIES = 2
"""A row has its columns and is in `_record` again."""


@dataclass(frozen=True)
class DividedRows:
    """A date's judged rows.

    Attributes:
        plain: Rows of keys that are not odd; None where odd rows are many, and all are taken for odd.
        odd: All rows of all odd keys, and rows of some keys that are not.
        suspects: All rows of keys that have a bad one, and perhaps others.
    """

    plain: DataFrame | None
    odd: DataFrame
    suspects: DataFrame

    def silver(self, silver: Silver) -> DataFrame:
        """Return the latest and good row of each key."""
        latest = steps.latest_and_good(self.odd, silver)
        # In one partition, because an engine writes a file for each.
        return latest if self.plain is None else self.plain.unionByName(latest.coalesce(1))


def divided(judged: DataFrame, silver: Silver, tally: pa.Table, row_bytes: float) -> DividedRows:
    """Return judged rows divided by what `steps.tally` has counted of them.

    Args:
        row_bytes: An average row of Bronze as the footers have it; texts that are the same are in there once.

    Raises:
        PySparkException: the odd rows cannot be had.
    """
    odd = tally.filter(pc.is_valid(tally["slice"]))
    slices, rows = set(odd["slice"].to_pylist()), sum(odd["rows"].to_pylist())
    rows += _rows_beside(tally, len(slices))
    many = rows > FEW_ROWS or rows * row_bytes * _COPIES > FEW_BYTES
    is_odd = _is_in(slices, silver)
    fetched = judged.where(is_odd).toArrow() if slices and not many else None
    if many or (fetched is not None and fetched.nbytes > FEW_BYTES):
        bad = set(odd.filter(pc.not_equal(odd["rule"], ""))["slice"].to_pylist())
        few_bad = 0 < len(bad) <= FEW_ROWS
        return DividedRows(None, judged, judged.where(_is_in(bad, silver)) if few_bad else judged)
    if fetched is None:
        return DividedRows(judged, judged.limit(0), judged.limit(0))
    local = judged.sparkSession.createDataFrame(fetched, judged.schema)
    return DividedRows(judged.where(~is_odd), local, local)


def _rows_beside(tally: pa.Table, slices: int) -> int:
    """Return about how many rows of other keys these slices have."""
    return int(sum(tally["rows"].to_pylist()) * slices // steps.SLICES)


def _is_in(slices: set[int], silver: Silver) -> Column:
    return steps.slice_of(silver.primary_key).isin(*sorted(slices))
