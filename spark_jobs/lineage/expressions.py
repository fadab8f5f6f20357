"""What one expression of a Spark Connect plan is made of, and what its result is called.

A value is made of every expression within its own, unless its kind is read apart here or is refused; what a relation
does with the results belongs to `relations`. The kinds are those of
https://github.com/apache/spark/blob/v4.2.0/sql/connect/common/src/main/protobuf/spark/connect/expressions.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from spark_jobs.lineage.fields import Field, Fields, split_name, unknown
from spark_jobs.lineage.sql_text import sql_names

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Expression

_REFUSED = (None, "extension", "subquery_expression", "unresolved_regex")


def sources(expression: Expression, fields: Fields) -> frozenset[str]:
    """Return the source columns that an expression's value is made of.

    A window's value depends on its partition and order too. A literal depends on no column, and neither does
    `count(*)`, unless what it counts are groups. A lambda's variable is an element of the function's other argument,
    which counts itself.

    Raises:
        LineageUnknownError: the expression is of a kind that is not read, or names a column that is not there.
    """
    kind = expression.WhichOneof("expr_type")
    if kind == "unresolved_attribute":
        return attribute(expression, fields).sources
    if kind == "unresolved_star":
        return _union(field.sources for field in star(expression, fields))
    if kind == "expression_string":
        named = sql_names(expression.expression_string.expression, fields.has)
        return _union(
            [fields.counted if named.counts_rows else [], *(fields.resolve(parts).sources for parts in named.columns)]
        )
    if kind in _REFUSED:
        raise unknown(f"expressions of the kind `{kind}` are not read")
    if kind == "unresolved_function" and _counts_rows(expression.unresolved_function):
        return fields.counted
    return _union(sources(part, fields) for part in _parts(getattr(expression, kind)))


def _parts(message: Any) -> Iterator[Expression]:
    """Yield the outermost expressions within a message of the protocol."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if isinstance(value, Sequence) else [value]:
            if item.DESCRIPTOR.name == "Expression":
                yield item
            else:
                yield from _parts(item)


def results(expression: Expression, fields: Fields) -> list[Field]:
    """Return the columns that an expression becomes in a projection: one, or several for a star.

    Raises:
        LineageUnknownError: as for `sources`.
    """
    match expression.WhichOneof("expr_type"):
        case "unresolved_attribute":
            return [attribute(expression, fields)]
        case "unresolved_star":
            return star(expression, fields)
        case "alias":
            made_of = sources(expression, fields)
            return [Field(name, made_of) for name in expression.alias.name]
        case "cast":
            child = expression.cast.expr
            keeps_name = child.WhichOneof("expr_type") in ("unresolved_attribute", "alias")
            return [Field(results(child, fields)[0].name if keeps_name else None, sources(child, fields))]
        case "expression_string":
            text = expression.expression_string.expression
            if text.strip() == "*":
                return list(fields)
            named = sql_names(text, fields.has)
            return [Field(named.output, sources(expression, fields))]
    return [Field(None, sources(expression, fields))]


def attribute(expression: Expression, fields: Fields) -> Field:
    """Return the field that a column reference means.

    Raises:
        LineageUnknownError: there is none, or several with different sources.
    """
    reference = expression.unresolved_attribute
    if reference.is_metadata_column:
        raise unknown(f"`{reference.unparsed_identifier}` is a metadata column")
    plan_id = reference.plan_id if reference.HasField("plan_id") else None
    return fields.resolve(split_name(reference.unparsed_identifier), plan_id)


def star(expression: Expression, fields: Fields) -> list[Field]:
    """Return the fields that `*` or `alias.*` stands for.

    Raises:
        LineageUnknownError: it stands for the fields of a struct.
    """
    reference = expression.unresolved_star
    found = fields.of_plan(reference.plan_id if reference.HasField("plan_id") else None)
    if reference.HasField("unparsed_target"):
        qualifier = split_name(reference.unparsed_target.removesuffix(".*"))[-1].casefold()
        found = [field for field in found if qualifier in field.qualifiers]
    if not found:
        raise unknown(f"`{reference.unparsed_target or '*'}` names no relation")
    return found


def _counts_rows(call: Expression.UnresolvedFunction) -> bool:
    kinds = {argument.WhichOneof("expr_type") for argument in call.arguments}
    return call.function_name.lower() == "count" and not call.is_distinct and kinds <= {"literal", "unresolved_star"}


def _union(parts: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset().union(*parts)
