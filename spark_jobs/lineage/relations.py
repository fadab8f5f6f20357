"""What each relation of a Spark Connect plan makes of the columns of its input.

A kind of relation is either read here or refused; an expression within it is read by
`expressions`. The kinds are those of
https://github.com/apache/spark/blob/v4.2.0/sql/connect/common/src/main/protobuf/spark/connect/relations.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame

from spark_jobs.engine.connect_plan import relation_of
from spark_jobs.lineage import expressions
from spark_jobs.lineage.fields import Field, Fields, split_name, unknown

if TYPE_CHECKING:
    from pyspark.sql.connect import proto

# They choose, order or place rows and leave every column as it is.
_SAME_COLUMNS = ("filter", "sort", "limit", "offset", "sample", "hint", "repartition", "drop_na", "fill_na")


@dataclass(frozen=True)
class LineageSource:
    """The DataFrame whose columns lineage ends at.

    Attributes:
        df: A DataFrame of a Spark Connect session; the analysed one is built from it.
        columns: Its columns; given, because asking the DataFrame would be a call of the server.
    """

    df: DataFrame
    columns: tuple[str, ...]


def column_lineage(df: DataFrame, source: LineageSource) -> dict[str, set[str]]:
    """Return, for each column of a DataFrame, the columns of the source that its value is made of.

    The plan alone is read: nothing is executed, and the server is not asked. A condition that chooses rows (`where`,
    a join's `on`, the keys of a deduplication) is not a source of the values in them, nor are the keys of a group one
    of its aggregates' sources. Access to a nested field counts as its column.

    Args:
        df: The DataFrame, built from `source.df` only and from constants.
        source: Where lineage ends.

    Raises:
        LineageUnknownError: the plan has a relation or an expression whose sources are not known, or a column
            without a name of its own.
    """
    fields = _Walk(source).fields(_relation(df))
    lineage: dict[str, set[str]] = {}
    for field in fields:
        if field.name is None:
            raise unknown("a column has no alias, so that each engine names it differently")
        if field.name in lineage:
            raise unknown(f"two columns have the name `{field.name}`")
        lineage[field.name] = set(field.sources)
    return lineage


def _relation(df: DataFrame) -> proto.Relation:
    relation = relation_of(df)
    if relation is None:
        raise unknown("a classic session has no Spark Connect plan")
    return relation


class _Walk:
    def __init__(self, source: LineageSource) -> None:
        self._columns = source.columns
        self._plan_id = _relation(source.df).common.plan_id

    def fields(self, relation: proto.Relation) -> Fields:
        """Return a relation's columns, each marked with the plan that it can be asked of."""
        plan_id = relation.common.plan_id
        if plan_id == self._plan_id:
            fields = Fields.of(Field(name, frozenset({name})) for name in self._columns)
        else:
            fields = self._derived(relation)
        return Fields.of((replace(field, plans=field.plans | {plan_id}) for field in fields), fields.counted)

    def _derived(self, relation: proto.Relation) -> Fields:
        kind = relation.WhichOneof("rel_type")
        if kind == "local_relation":
            return Fields.of(Field(name, frozenset()) for name in _local_columns(relation.local_relation))
        if kind == "join":
            join = relation.join
            return _joined(join, self.fields(join.left), self.fields(join.right))
        if kind == "set_op":
            union = relation.set_op
            return _united(union, self.fields(union.left_input), self.fields(union.right_input))
        if kind not in _SAME_COLUMNS and kind not in _OF_ONE_INPUT:
            raise unknown(f"relations of the kind `{kind}` are not read")
        message = getattr(relation, kind)
        given = self.fields(message.input)
        return given if kind in _SAME_COLUMNS else _OF_ONE_INPUT[kind](message, given)


def _projected(project: proto.Project, given: Fields) -> Fields:
    return Fields.of((made for item in project.expressions for made in expressions.results(item, given)), given.counted)


def _deduplicated(deduplicate: proto.Deduplicate, given: Fields) -> Fields:
    columns = deduplicate.column_names
    keys = [given.resolve([name]) for name in columns] if columns else given
    return Fields.of(given, frozenset().union(*(field.sources for field in keys)))


def _with_columns(with_columns: proto.WithColumns, given: Fields) -> Fields:
    fields = list(given)
    for alias in with_columns.aliases:
        if len(alias.name) != 1:
            raise unknown(f"`withColumns` makes {list(alias.name)} of one expression")
        new = Field(alias.name[0], expressions.sources(alias.expr, given))
        if given.has(new.name or ""):
            fields = [new if field.is_named(alias.name[0]) else field for field in fields]
        else:
            fields.append(new)
    return Fields.of(fields, given.counted)


def _renamed(renamed: proto.WithColumnsRenamed, given: Fields) -> Fields:
    fields = list(given)
    names = dict(renamed.rename_columns_map) | {item.col_name: item.new_col_name for item in renamed.renames}
    for old, new in names.items():
        fields = [Field(new, field.sources) if field.is_named(old) else field for field in fields]
    return Fields.of(fields, given.counted)


def _aliased(subquery: proto.SubqueryAlias, given: Fields) -> Fields:
    qualifiers = frozenset({subquery.alias.casefold()})
    return Fields.of((replace(field, qualifiers=qualifiers) for field in given), given.counted)


def _dropped(drop: proto.Drop, given: Fields) -> Fields:
    dropped = [field for name in drop.column_names for field in given if field.is_named(name)]
    for item in drop.columns:
        if item.WhichOneof("expr_type") != "unresolved_attribute":
            raise unknown("`drop` of something other than a column")
        reference = item.unresolved_attribute
        name = split_name(reference.unparsed_identifier)[-1]
        asked = given.of_plan(reference.plan_id if reference.HasField("plan_id") else None)
        dropped += [field for field in asked if field.is_named(name)]
    return Fields.of((field for field in given if not any(field is gone for gone in dropped)), given.counted)


def _aggregated(aggregate: proto.Aggregate, given: Fields) -> Fields:
    if aggregate.group_type == aggregate.GroupType.GROUP_TYPE_PIVOT:
        raise unknown("the columns of a `pivot` are named after its values")
    keys = [made for item in aggregate.grouping_expressions for made in expressions.results(item, given)]
    groups: frozenset[str] = frozenset().union(*(field.sources for field in keys))
    # Of what is counted, the keys of this group are the same in each of its rows.
    given = replace(given, counted=given.counted - groups)
    values = [made for item in aggregate.aggregate_expressions for made in expressions.results(item, given)]
    return Fields.of([*keys, *values], groups)


_OF_ONE_INPUT: dict[str, Callable[[Any, Fields], Fields]] = {
    "project": _projected,
    "deduplicate": _deduplicated,
    "with_columns": _with_columns,
    "with_columns_renamed": _renamed,
    "subquery_alias": _aliased,
    "drop": _dropped,
    "aggregate": _aggregated,
}


def _joined(join: proto.Join, left: Fields, right: Fields) -> Fields:
    kinds, using = join.JoinType, list(join.using_columns)
    shared = []
    for name in using:
        one, other = left.resolve([name]), right.resolve([name])
        if join.join_type == kinds.JOIN_TYPE_FULL_OUTER:
            shared.append(Field(one.name, one.sources | other.sources))
        else:
            shared.append(other if join.join_type == kinds.JOIN_TYPE_RIGHT_OUTER else one)
    # The shared columns come first, also where only the left's rows are asked for.
    of_left = [*shared, *_without(left, using)]
    if join.join_type in (kinds.JOIN_TYPE_LEFT_SEMI, kinds.JOIN_TYPE_LEFT_ANTI):
        return Fields.of(of_left, left.counted)
    return Fields.of([*of_left, *_without(right, using)], left.counted | right.counted)


def _united(union: proto.SetOperation, left: Fields, right: Fields) -> Fields:
    if union.set_op_type != union.SetOpType.SET_OP_TYPE_UNION:
        raise unknown("`intersect` and `except` are not read")
    counted = left.counted | right.counted
    if not union.by_name:
        pairs = zip(left, right, strict=True)
        return Fields.of((Field(one.name, one.sources | other.sources) for one, other in pairs), counted)
    fields = [
        Field(one.name, one.sources.union(*(other.sources for other in right if other.is_named(one.name or ""))))
        for one in left
    ]
    added = [Field(new.name, new.sources) for new in right if not left.has(new.name or "")]
    return Fields.of([*fields, *added], counted)


def _without(fields: Fields, names: Sequence[str]) -> list[Field]:
    return [field for field in fields if not any(map(field.is_named, names))]


def _local_columns(local: proto.LocalRelation) -> Sequence[str]:
    if not local.HasField("data"):
        raise unknown("a DataFrame without rows that is not the source")
    names: list[str] = pa.ipc.open_stream(local.data).schema.names
    return names
