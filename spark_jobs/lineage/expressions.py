"""What one expression of a Spark Connect plan is made of, and what its result is called.

Every kind of expression in the protocol is either read here or refused; what a relation does with the results belongs
to `relations`. The kinds are those of
https://github.com/apache/spark/blob/v4.2.0/sql/connect/common/src/main/protobuf/spark/connect/expressions.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from spark_jobs.lineage.fields import Field, Fields, split_name, unknown
from spark_jobs.lineage.sql_text import sql_names

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Expression

_NONE: frozenset[str] = frozenset()


def sources(expression: Expression, fields: Fields) -> frozenset[str]:
    """Return the source columns that an expression's value is made of.

    A window's value depends on its partition and order too. A literal depends on no column, and neither does
    `count(*)`, unless what it counts are groups.

    Raises:
        LineageUnknownError: the expression is of a kind that is not read, or names a column that is not there.
    """
    kind = expression.WhichOneof("expr_type")
    match kind:
        case "literal" | "unresolved_named_lambda_variable":
            # A lambda's variable is an element of the function's other argument, which counts itself.
            return _NONE
        case "unresolved_attribute":
            return attribute(expression, fields).sources
        case "unresolved_star":
            return _union(field.sources for field in star(expression, fields))
        case "expression_string":
            named = sql_names(expression.expression_string.expression, fields.has)
            counted = fields.counted if named.counts_rows else _NONE
            return counted.union(*(fields.resolve(parts).sources for parts in named.columns))
        case "unresolved_function":
            call = expression.unresolved_function
            return fields.counted if _counts_rows(call) else _all(call.arguments, fields)
        case "call_function":
            return _all(expression.call_function.arguments, fields)
        case "common_inline_user_defined_function":
            return _all(expression.common_inline_user_defined_function.arguments, fields)
        case "named_argument_expression":
            return sources(expression.named_argument_expression.value, fields)
        case "alias":
            return sources(expression.alias.expr, fields)
        case "cast":
            return sources(expression.cast.expr, fields)
        case "sort_order":
            return sources(expression.sort_order.child, fields)
        case "lambda_function":
            return sources(expression.lambda_function.function, fields)
        case "unresolved_extract_value":
            value = expression.unresolved_extract_value
            return _all([value.child, value.extraction], fields)
        case "update_fields":
            update = expression.update_fields
            # Without a value the field is dropped.
            changed = [update.value_expression] if update.HasField("value_expression") else []
            return _all([update.struct_expression, *changed], fields)
        case "window":
            window = expression.window
            order = [item.child for item in window.order_spec]
            return _all([window.window_function, *window.partition_spec, *order], fields)
    raise unknown(f"expressions of the kind `{kind}` are not read")


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
    found = list(fields)
    if reference.HasField("plan_id"):
        found = [field for field in found if reference.plan_id in field.plans]
    if reference.HasField("unparsed_target"):
        qualifier = split_name(reference.unparsed_target.removesuffix(".*"))[-1].casefold()
        found = [field for field in found if qualifier in field.qualifiers]
    if not found:
        raise unknown(f"`{reference.unparsed_target or '*'}` names no relation")
    return found


def _counts_rows(call: Expression.UnresolvedFunction) -> bool:
    kinds = {argument.WhichOneof("expr_type") for argument in call.arguments}
    return call.function_name.lower() == "count" and not call.is_distinct and kinds <= {"literal", "unresolved_star"}


def _all(expressions: Iterable[Expression], fields: Fields) -> frozenset[str]:
    return _union(sources(expression, fields) for expression in expressions)


def _union(parts: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*parts)
