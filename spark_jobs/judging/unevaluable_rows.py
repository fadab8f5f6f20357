"""Which rows an expression of a rule cannot take: a division by zero, a text that is no date, an index out of bounds.

An engine ends a whole query for one of them, so that the date would fail. This is asked only then: the rule is
evaluated over ever smaller parts of the date until the rows are known for which it fails. What a rule means belongs to
`spark_jobs.steps`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyspark.errors as pe
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from platform_core.domain.catalog import Domain, Rule
from platform_core.errors import PermanentError

log = logging.getLogger(__name__)

MOST_ROWS = 100
"""Of one rule and date. A rule that fails for more is wrong, and each row costs about fifteen small queries."""

_PART = 20_000
_IDENTITY = ("_topic", "_partition", "_offset", "_record_hash")


def identity() -> SparkColumn:
    """Return the text by which a record is known here."""
    return F.concat_ws(":", *[F.col(name).cast("string") for name in _IDENTITY])


def unevaluable_rows(spark: SparkSession, df: DataFrame, rules: Sequence[Rule], domain: Domain) -> dict[str, list[str]]:
    """Return the records for which a rule is an error, by rule and in the form of `identity`; none for most rules.

    Args:
        df: Rows with the columns that the rules name.

    Raises:
        PermanentError: a rule is an error for more than `MOST_ROWS`.
        PySparkException: the rows cannot be had, or the engine does not answer.
    """
    found = {}
    for rule in rules:
        words = set(re.findall(r"\w+", rule.expression.lower()))
        columns = [F.col(name) for name in df.columns if name.lower() in words]
        rows = df.select(identity().alias("_identity"), *columns).toArrow()
        parts = [rows.slice(start, _PART) for start in range(0, rows.num_rows, _PART)]
        if bad := _narrowed(spark, rule, parts, domain):
            found[rule.name] = bad
            log.warning(
                "rule_not_evaluable domain=%s rule=%s rows=%d first=%s", domain.name, rule.name, len(bad), bad[0]
            )
    return found


def _narrowed(spark: SparkSession, rule: Rule, parts: list[pa.Table], domain: Domain) -> list[str]:
    bad: list[str] = []
    is_expression = False
    while parts:
        part = parts.pop()
        if _can_take(spark, part, rule.expression):
            continue
        is_expression = is_expression or _is_expression(spark, part, rule.expression)
        if not is_expression:
            return []  # no row is to blame
        if part.num_rows > 1:
            half = part.num_rows // 2
            parts += [part.slice(0, half), part.slice(half)]
            continue
        # An engine that has gone takes nothing at all, which would put every row into the quarantine.
        spark.createDataFrame(part).select(F.lit(1)).collect()
        bad += part["_identity"].to_pylist()
        if len(bad) > MOST_ROWS:
            raise PermanentError(
                f"Domain `{domain.name}`, rule `{rule.name}`: `{rule.expression}` cannot be evaluated for more than"
                f" {MOST_ROWS} records of the date, for example {bad[0].rpartition(':')[0]} (topic, Kafka partition,"
                " offset). Mend the rule: `try_` functions give NULL where a value is none."
            )
    return bad


def _can_take(spark: SparkSession, rows: pa.Table, expression: str) -> bool:
    try:
        spark.createDataFrame(rows).agg(F.count(F.when(F.expr(expression), 1))).collect()
    except pe.PySparkException:
        return False
    return True


def _is_expression(spark: SparkSession, rows: pa.Table, expression: str) -> bool:
    """Return whether the engine understands an expression over these columns, whatever the rows hold."""
    try:
        _ = spark.createDataFrame(rows).select(F.expr(expression)).schema
    except pe.PySparkException:
        return False
    return True


def verdict(expression: str, unevaluable: Collection[str]) -> SparkColumn:
    """Return 1 where an expression is true, 0 where it is false, else NULL; for some records it is not evaluated."""
    # As a number: a `case` over booleans becomes an `and` in Sail, which evaluates both sides for every row.
    number = F.expr(expression).cast("int")
    return F.when(~identity().isin(*unevaluable), number) if unevaluable else number
