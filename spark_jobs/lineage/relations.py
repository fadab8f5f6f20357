"""What each relation of a Spark Connect plan makes of the columns of its input.

Every kind of relation in the protocol is either read here or refused; an expression within it is read by
`expressions`. The kinds are those of
https://github.com/apache/spark/blob/v4.2.0/sql/connect/common/src/main/protobuf/spark/connect/relations.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import DataFrame

from spark_jobs.lineage import expressions
from spark_jobs.lineage.fields import Field, Fields, split_name, unknown

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Aggregate, Join, LocalRelation, Relation, SetOperation, Unpivot

# They choose, order or place rows and leave every column as it is.
_SAME_COLUMNS = frozenset(
    {
        "filter",
        "sort",
        "limit",
        "offset",
        "tail",
        "sample",
        "hint",
        "repartition",
        "repartition_by_expression",
        "drop_na",
        "fill_na",
        "replace",
        "with_watermark",
        "collect_metrics",
    }
)


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


def _relation(df: DataFrame) -> Relation:
    # The client's own plan has no public name; pyproject.toml pins its version.
    plan, session = getattr(df, "_plan", None), getattr(df, "_session", None)
    if plan is None or session is None:
        raise unknown("a classic session has no Spark Connect plan")
    relation: Relation = plan.plan(session.client)
    return relation


class _Walk:
    def __init__(self, source: LineageSource) -> None:
        self._columns = source.columns
        self._plan_id = _relation(source.df).common.plan_id

    def fields(self, relation: Relation) -> Fields:
        """Return a relation's columns, each marked with the plan that it can be asked of."""
        plan_id = relation.common.plan_id
        if plan_id == self._plan_id:
            found = Fields.of(Field(name, frozenset({name})) for name in self._columns)
        else:
            found = self._made(relation)
        return Fields.of((replace(field, plans=field.plans | {plan_id}) for field in found), found.counted)

    def _made(self, relation: Relation) -> Fields:
        kind = relation.WhichOneof("rel_type")
        if kind in _SAME_COLUMNS:
            return self.fields(getattr(relation, kind).input)
        match kind:
            case "project":
                given = self.fields(relation.project.input)
                listed = relation.project.expressions
                return Fields.of((made for item in listed for made in expressions.results(item, given)), given.counted)
            case "deduplicate":
                given = self.fields(relation.deduplicate.input)
                columns = relation.deduplicate.column_names
                keys = [given.resolve([name]) for name in columns] if columns else given
                return Fields.of(given, frozenset().union(*(field.sources for field in keys)))
            case "with_columns":
                return self._with_columns(relation)
            case "with_columns_renamed":
                return self._renamed(relation)
            case "to_df":
                names = relation.to_df.column_names
                given = self.fields(relation.to_df.input)
                renamed = (Field(name, field.sources) for name, field in zip(names, given, strict=True))
                return Fields.of(renamed, given.counted)
            case "to_schema":
                given = self.fields(relation.to_schema.input)
                names = [field.name for field in relation.to_schema.schema.struct.fields]
                return Fields.of((Field(name, given.resolve([name]).sources) for name in names), given.counted)
            case "drop":
                return self._dropped(relation)
            case "subquery_alias":
                given = self.fields(relation.subquery_alias.input)
                qualifiers = frozenset({relation.subquery_alias.alias.casefold()})
                return Fields.of((replace(field, qualifiers=qualifiers) for field in given), given.counted)
            case "aggregate":
                return self._aggregated(relation.aggregate)
            case "join":
                return self._joined(relation.join)
            case "set_op":
                return self._combined(relation.set_op)
            case "unpivot":
                return self._unpivoted(relation.unpivot)
            case "with_relations":
                # Its references are subqueries, and an expression that asks for one is refused.
                return self.fields(relation.with_relations.root)
            case "range":
                return Fields.of([Field("id", frozenset())])
            case "local_relation":
                return Fields.of(Field(name, frozenset()) for name in _local_columns(relation.local_relation))
        raise unknown(f"relations of the kind `{kind}` are not read")

    def _with_columns(self, relation: Relation) -> Fields:
        given = self.fields(relation.with_columns.input)
        fields = list(given)
        for alias in relation.with_columns.aliases:
            if len(alias.name) != 1:
                raise unknown(f"`withColumns` makes {list(alias.name)} of one expression")
            new = Field(alias.name[0], expressions.sources(alias.expr, given))
            places = [at for at, field in enumerate(fields) if field.is_named(alias.name[0])]
            for at in places:
                fields[at] = new
            if not places:
                fields.append(new)
        return Fields.of(fields, given.counted)

    def _renamed(self, relation: Relation) -> Fields:
        renamed = relation.with_columns_renamed
        names = dict(renamed.rename_columns_map) | {item.col_name: item.new_col_name for item in renamed.renames}
        given = self.fields(renamed.input)
        fields = list(given)
        for old, new in names.items():
            fields = [Field(new, field.sources) if field.is_named(old) else field for field in fields]
        return Fields.of(fields, given.counted)

    def _dropped(self, relation: Relation) -> Fields:
        given = self.fields(relation.drop.input)
        dropped = []
        for item in relation.drop.columns:
            if item.WhichOneof("expr_type") != "unresolved_attribute":
                raise unknown("`drop` of something other than a column")
            reference = item.unresolved_attribute
            by_plan = reference.plan_id if reference.HasField("plan_id") else None
            name = split_name(reference.unparsed_identifier)[-1]
            dropped += [
                field for field in given if field.is_named(name) and (by_plan is None or by_plan in field.plans)
            ]
        names = {name.casefold() for name in relation.drop.column_names}
        kept = (
            field
            for field in given
            if not any(field is gone for gone in dropped) and (field.name or "").casefold() not in names
        )
        return Fields.of(kept, given.counted)

    def _aggregated(self, aggregate: Aggregate) -> Fields:
        if aggregate.group_type == aggregate.GroupType.GROUP_TYPE_PIVOT:
            raise unknown("the columns of a `pivot` are named after its values")
        given = self.fields(aggregate.input)
        keys = [made for item in aggregate.grouping_expressions for made in expressions.results(item, given)]
        groups: frozenset[str] = frozenset().union(*(field.sources for field in keys))
        # Of what is counted, the keys of this group are the same in each of its rows.
        given = replace(given, counted=given.counted - groups)
        values = [made for item in aggregate.aggregate_expressions for made in expressions.results(item, given)]
        return Fields.of([*keys, *values], groups)

    def _joined(self, join: Join) -> Fields:
        left, using = self.fields(join.left), list(join.using_columns)
        # The shared columns come first, also where only the left's rows are asked for.
        if join.join_type in (join.JoinType.JOIN_TYPE_LEFT_SEMI, join.JoinType.JOIN_TYPE_LEFT_ANTI):
            first = [left.resolve([name]) for name in using]
            return Fields.of([*first, *_without(left, using)], left.counted)
        right = self.fields(join.right)
        shared = []
        for name in using:
            one, other = left.resolve([name]), right.resolve([name])
            if join.join_type == join.JoinType.JOIN_TYPE_FULL_OUTER:
                shared.append(Field(one.name, one.sources | other.sources))
            else:
                shared.append(other if join.join_type == join.JoinType.JOIN_TYPE_RIGHT_OUTER else one)
        return Fields.of([*shared, *_without(left, using), *_without(right, using)], left.counted | right.counted)

    def _combined(self, combined: SetOperation) -> Fields:
        left = self.fields(combined.left_input)
        if combined.set_op_type != combined.SetOpType.SET_OP_TYPE_UNION:
            # What remains of `intersect` and `except` are rows of the left.
            return left
        right = self.fields(combined.right_input)
        counted = left.counted | right.counted
        if not combined.by_name:
            if len(left) != len(right):
                raise unknown(f"a union of {len(left)} and {len(right)} columns")
            both = (Field(one.name, one.sources | other.sources) for one, other in zip(left, right, strict=True))
            return Fields.of(both, counted)
        named = [field.name for field in [*left, *right]]
        if None in named:
            raise unknown("a union by name of columns without a name")
        merged = [
            Field(one.name, one.sources.union(*(other.sources for other in right if other.is_named(one.name or ""))))
            for one in left
        ]
        added = [Field(new.name, new.sources) for new in right if not left.has(new.name or "")]
        return Fields.of([*merged, *added], counted)

    def _unpivoted(self, unpivot: Unpivot) -> Fields:
        given = self.fields(unpivot.input)
        ids = [result for item in unpivot.ids for result in expressions.results(item, given)]
        if not unpivot.HasField("values"):
            kept = {field.name for field in ids}
            values = [field for field in given if field.name not in kept]
        else:
            values = [result for item in unpivot.values.values for result in expressions.results(item, given)]
        made_of: frozenset[str] = frozenset().union(*(field.sources for field in values))
        melted = [Field(unpivot.variable_column_name, frozenset()), Field(unpivot.value_column_name, made_of)]
        return Fields.of([*ids, *melted], given.counted)


def _without(fields: Fields, names: Sequence[str]) -> list[Field]:
    return [field for field in fields if not any(map(field.is_named, names))]


def _local_columns(local: LocalRelation) -> Sequence[str]:
    if not local.HasField("data"):
        raise unknown("a DataFrame without rows that is not the source")
    names: list[str] = pa.ipc.open_stream(local.data).schema.names
    return names
