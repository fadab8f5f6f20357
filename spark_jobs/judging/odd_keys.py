"""Which of a date's rows must be compared: those of odd keys, that have several rows or a bad one.

Of almost every key a date has one row, a good one. Such rows are neither judged a second time nor sorted, and the
others are few enough to come to this process, so that what is asked of them costs an engine next to nothing. What is
asked is in `spark_jobs.steps`; nothing here changes a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame

from platform_core.domain.catalog import Rule, Silver
from spark_jobs import steps
from spark_jobs.writing import few_rows

FEW_ROWS = 20_000
FEW_BYTES = 32 << 20
"""Up to so much, as Arrow, comes here and goes back with each query; both clients end at messages of 128 MiB."""

_COPIES = 2
"""A row has its columns and is in `_record` again."""


@dataclass(frozen=True)
class DividedRows:
    """A date's judged rows.

    Attributes:
        plain: Rows of keys that are not odd; None where odd rows are many, and all are taken for odd.
        odd: All rows of all odd keys, and rows of some keys that are not; None where no key is odd, as of most
            corrections: the engine would plan and run what is asked of them for nothing.
        suspects: All rows of keys that have a bad one, and perhaps others.
    """

    plain: DataFrame | None
    odd: DataFrame | None
    suspects: DataFrame

    def silver(self, silver: Silver) -> DataFrame:
        """Return the latest and good row of each key."""
        if self.odd is None:
            assert self.plain is not None
            return self.plain
        latest = steps.latest_and_good(self.odd, silver)
        # In one partition, because an engine writes a file for each.
        return latest if self.plain is None else self.plain.unionByName(latest.coalesce(1))


def counted(
    judged: DataFrame, silver: Silver, rules: Sequence[Rule], row_bytes: float
) -> tuple[list[dict[str, Any]], DividedRows]:
    """Return the counts of judged rows, a line for each rule and `warnings` as of `steps.tally`, and the rows divided.

    Args:
        rules: The domain's, by which the rows were judged.
        row_bytes: An average row of Bronze as the footers have it; texts that are the same are in there once.

    Raises:
        PySparkException: the rows cannot be had.
    """
    survey = steps.survey(judged, silver.primary_key, rules).toArrow()
    survey = survey.append_column("warnings", pa.array(steps.warned_texts(survey, rules), pa.string()))
    odd = survey.filter(pc.is_valid(survey["slice"]))
    plain = [_plain_line(line) for line in survey.filter(pc.is_null(survey["slice"])).to_pylist()]
    slices, rows = set(odd["slice"].to_pylist()), sum(odd["rows"].to_pylist())
    if not slices:
        return plain, DividedRows(judged, None, judged.limit(0))
    rows += _rows_beside(survey, len(slices))
    is_odd = _is_in(slices, silver)
    many = rows > FEW_ROWS or rows * row_bytes * _COPIES > FEW_BYTES
    # In files a text that is in every row is kept once: how large they are here is known when they come.
    fetched = None if many else few_rows.fetched(judged.where(is_odd), FEW_BYTES)
    if fetched is None:
        tally = steps.tally(judged, silver.primary_key).toArrow()
        bad = set(tally.filter(pc.not_equal(tally["rule"], ""))["slice"].to_pylist())
        few_bad = 0 < len(bad) <= FEW_ROWS
        return _by_rule(tally), DividedRows(None, judged, judged.where(_is_in(bad, silver)) if few_bad else judged)
    local = judged.sparkSession.createDataFrame(fetched, judged.schema)
    # Keys that are not odd are in these slices, too, and counted already.
    tally = steps.tally(steps.of_odd_keys(local, silver.primary_key), silver.primary_key).toArrow()
    return [*plain, *_by_rule(tally)], DividedRows(judged.where(~is_odd), local, local)


def _plain_line(line: Mapping[str, Any]) -> dict[str, Any]:
    rows, warnings = line["rows"], line["warnings"]
    warned = rows if warnings else 0
    return {"rule": "", "warnings": warnings, "rows": rows, "records": rows, "keys": rows, "warned": warned}


def _by_rule(tally: pa.Table) -> list[dict[str, Any]]:
    counts = ("rows", "records", "keys", "warned")
    summed = tally.group_by(["rule", "warnings"]).aggregate([(name, "sum") for name in counts])
    return summed.rename_columns({f"{name}_sum": name for name in counts}).to_pylist()  # type: ignore[no-any-return]


def _rows_beside(survey: pa.Table, slices: int) -> int:
    """Return about how many rows of other keys these slices have."""
    return int(sum(survey["rows"].to_pylist()) * slices // steps.SLICES)


def _is_in(slices: set[int], silver: Silver) -> Column:
    return steps.slice_of(silver.primary_key).isin(*sorted(slices))
