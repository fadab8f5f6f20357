"""Exact decimals, the same in Spark and in Sail: reading them, adding them, dividing them.

Reading JSON belongs to `plugin_kit.json_columns`. The scale of a decimal quotient differs between the engines, so what
is divided here is divided as integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

MONEY = "decimal(12,2)"
"""One amount."""

SUM_OF_MONEY = "decimal(18,2)"
"""Many amounts together."""

_PLAIN = r"^-?[0-9]+([.][0-9]+)?\z"


def decimal(text: Column, kind: str = MONEY) -> Column:
    """Return text as a decimal, NULL when it is none or is too large; only Spark reads 1e3, so neither may.

    Args:
        text: Digits with at most one point.
        kind: For example `decimal(12,2)`.
    """
    return F.when(text.rlike(_PLAIN), text).try_cast(kind)


def sum_of_money(column: str) -> Column:
    """Return an exact sum, 0.00 when there is nothing to add."""
    return F.coalesce(F.sum(column), F.lit(0)).cast(SUM_OF_MONEY)


def quotient(units: str, number: str, kind: str) -> Column:
    """Return a quotient, rounded half up (away from zero); NULL when it is divided by 0 or does not fit.

    Args:
        units: An integer SQL expression: the dividend in units of the last place of `kind`, so cents for two places.
        number: An integer SQL expression that is not negative: the divisor.
        kind: The type of the result, for example `decimal(12,2)`.
    """
    places = int(kind.rstrip(")").rpartition(",")[2])
    # Sail's `try_` functions take two values of one type.
    doubled = f"try_multiply(2L, abs(bigint({units})))"
    magnitude = f"try_add({doubled}, bigint({number})) div nullif(2 * {number}, 0)"
    rounded = F.expr(f"case when {units} < 0 then -({magnitude}) else {magnitude} end")
    last_place = F.lit("0." + "1".zfill(places)).cast(f"decimal({places},{places})")
    return (rounded.try_cast("decimal(16,0)") * last_place).try_cast(kind)
