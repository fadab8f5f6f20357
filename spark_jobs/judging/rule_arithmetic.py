"""Rules whose arithmetic over integers gives NULL where it overflows, in both engines.

Of a sum beyond a bigint Spark makes an error and Sail another number, which may well pass the rule; the same of a cast
to fewer digits. What is an error in both engines belongs to `spark_jobs.judging.unevaluable_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyspark.errors as pe
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from platform_core.domain.catalog import Rule

if TYPE_CHECKING:
    from sqlglot import exp

_PERHAPS_ARITHMETIC = re.compile(
    r"[-+*]|::|cast|\b(?:tinyint|byte|smallint|short|int|integer|bigint|long|dec|decimal|numeric|number)\b",
    re.IGNORECASE,
)
"""Most domains' rules have none, and a parser takes 0.15 s of CPU to say so."""

_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)


def without_overflow(df: DataFrame, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules with `try_` arithmetic over integers; a rule without such arithmetic stays as it is written.

    What is inside a lambda stays too: nobody says the type of its variables.
    """
    if not any(_PERHAPS_ARITHMETIC.search(rule.expression) for rule in rules):
        return list(rules)
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    trees: dict[str, exp.Expr] = {}
    for rule in rules:
        try:
            trees[rule.name] = sqlglot.parse_one(f"select {rule.expression}", read="spark")
        except SqlglotError:  # the engine may know it; if not, it says what is wrong
            continue
    nodes = [
        (name, node)
        for name, tree in trees.items()
        # Innermost first: what is within an operand is replaced before the operand is copied.
        for node in reversed(list(tree.walk(bfs=True)))
        if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Cast) and node.find_ancestor(exp.Lambda) is None
    ]
    if not nodes:
        return list(rules)
    try:
        types = _types(df, [_operands(node) for _, node in nodes])
    except pe.PySparkException:  # a column that is not there, for example: the job itself will say so
        return list(rules)
    changed = set()
    for (name, node), operands in zip(nodes, types, strict=True):
        if (safe := _safe(node, operands)) is not None:
            node.replace(safe)
            changed.add(name)
    return [
        rule.model_copy(update={"expression": trees[rule.name].expressions[0].sql("spark")})
        if rule.name in changed
        else rule
        for rule in rules
    ]


def _safe(node: exp.Expr, operands: Sequence[T.DataType]) -> exp.Expr | None:
    """Return what an operation over integers is replaced by."""
    from sqlglot import exp

    if isinstance(node, exp.Cast):
        if not isinstance(operands[0], (*_INTEGERS, T.DecimalType)):
            return None
        is_integer = node.to.this in exp.DataType.INTEGER_TYPES and isinstance(operands[0], _INTEGERS)
        if not is_integer and node.to.this is not exp.DataType.Type.DECIMAL:
            return None
        # By its digits, because Sail cuts those off that do not fit.
        return exp.TryCast(this=exp.cast(node.this.copy(), "string"), to=node.to.copy(), safe=True)
    if not all(isinstance(each, _INTEGERS) for each in operands):
        return None
    sides = [node.this.copy(), node.expression.copy()]
    if any(isinstance(each, T.LongType) for each in operands):  # Sail's functions take two of one type
        sides = [exp.cast(side, "bigint") for side in sides]
    function = {"Add": "try_add", "Sub": "try_subtract", "Mul": "try_multiply"}[type(node).__name__]
    return exp.Anonymous(this=function, expressions=sides)


def _operands(node: exp.Expr) -> list[str]:
    from sqlglot import exp

    operands = [node.this] if isinstance(node, exp.Cast) else [node.this, node.expression]
    # An interval without a value around it is no column of its own in Spark.
    return ["null" if isinstance(each, exp.Interval) else each.sql("spark") for each in operands]


def _types(df: DataFrame, operands: Sequence[Sequence[str]]) -> list[list[T.DataType]]:
    """Return the types of SQL expressions over a DataFrame, asked for in one request."""
    names = dict.fromkeys(text for texts in operands for text in texts)
    schema = df.select(*[F.expr(text).alias(f"c{n}") for n, text in enumerate(names)]).schema
    types = dict(zip(names, (field.dataType for field in schema.fields), strict=True))
    return [[types[text] for text in texts] for texts in operands]
