"""Whether each row of a `Transform` and of the rules follows from its Bronze row alone, proven from the plan.

Then the rows of some keys can be made without the others. Nothing is declared and nothing is executed: the plan of a
Spark Connect session says which relations and functions there are, and what is not known to be row-wise is not. Which
functions are is in `row_wise_functions`; what follows from a proof belongs to `touched_keys`. The messages are those of
https://github.com/apache/spark/tree/v4.2.0/sql/connect/common/src/main/protobuf/spark/connect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from platform_core.domain.catalog import Rule
from spark_jobs.correction.row_wise_functions import FUNCTIONS
from spark_jobs.engine.connect_plan import relation_of

if TYPE_CHECKING:
    from pyspark.sql.connect import proto

_RELATIONS = ("project", "with_columns", "with_columns_renamed", "drop", "subquery_alias")
"""They give one row for each row, made of it."""

_TIME_WORD = re.compile(r"\s*(?:now|today|tomorrow|yesterday|epoch)\b", re.IGNORECASE)
"""What a text begins with that Spark may take for a time, all but the last for another one each day; a zone may follow.

It does so in `timestamp 'today UTC'`, and in a cast, `hour` or `to_date` of a constant, never of a column's value.
"""

_FORBIDDEN_WORDS = re.compile(
    r"(?:select|table|over|user|session_user|local(?:time|timestamp)|current_\w+|input_file_\w+|_metadata)",
    re.IGNORECASE,
)
_ESCAPED_CHARACTER = re.compile(r"(?<!\\)(?:\\\\)*\\[uU0-9]")
_QUOTED = re.compile(
    r"(?P<prefix>\w+)?(?:'(?P<single>(?:[^'\\]|\\.)*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\")|(?P<name>`(?:[^`]|``)*`)",
    re.DOTALL,
)
_UNREADABLE = re.compile(r"--|/\*|\|>|[\\'\"`{}$;?#]|(?<!:):(?!:)")
_WORD = re.compile(r"[^\W\d]\w*")
_CALL = re.compile(r"([^\W\d]\w*)\s*\(")


@dataclass(frozen=True)
class RowWise:
    """What a plan proves.

    Attributes:
        fingerprint: Of all that the plan computes, constants included: two rows that are equal become equal rows under
            plans of one fingerprint. Empty without a proof.
        objection: What keeps it from being proven, as the end of a sentence; empty with a proof.
    """

    fingerprint: str
    objection: str = ""


def row_wise(given: DataFrame, transformed: DataFrame, rules: Sequence[Rule], untouched: Iterable[str]) -> RowWise:
    """Return whether a DataFrame and its rules are made of each row of another one alone.

    Args:
        given: The DataFrame that is transformed.
        transformed: What came of it.
        rules: Rules over its columns.
        untouched: Columns that must have the values that they were given.
    """
    proof = _Proof(frozenset(name.casefold() for name in given.columns))
    try:
        proof.of_plan(_relation(given), _relation(transformed))
        for rule in rules:
            proof.of_rule(rule)
    except _NotProvenError as error:
        return RowWise("", str(error))
    if changed := [name for name in untouched if name.casefold() not in proof.untouched]:
        return RowWise("", f"`Transform` may change `{changed[0]}`")
    return RowWise(proof.fingerprint)


class _NotProvenError(Exception):
    """Something may depend on other rows, on the time or on chance."""


def _relation(df: DataFrame) -> proto.Relation:
    relation = relation_of(df)
    if relation is None:
        raise _NotProvenError("a classic session has no Spark Connect plan")
    return relation


class _Proof:
    def __init__(self, untouched: frozenset[str]) -> None:
        self.untouched = untouched
        self._digest = hashlib.sha256()
        self._variables: dict[str, int] = {}

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]

    def of_plan(self, given: proto.Relation, relation: proto.Relation) -> None:
        steps = []
        while relation.common.plan_id != given.common.plan_id:
            kind = relation.WhichOneof("rel_type")
            if kind not in _RELATIONS:
                raise _NotProvenError(f"`Transform` has a relation of the kind `{kind}`")
            message = getattr(relation, kind)
            steps.append((kind, message))
            relation = message.input
        for kind, message in reversed(steps):
            self._say(kind)
            getattr(self, f"_{kind}")(message)

    def of_rule(self, rule: Rule) -> None:
        self._say(rule.name, rule.on_failure, rule.reason or "")
        self._sql(rule.expression)

    def _project(self, project: proto.Project) -> None:
        kept, made = set[str](), set[str]()
        for item in project.expressions:
            self._expression(item)
            kind = item.WhichOneof("expr_type")
            if kind == "unresolved_star" and not item.unresolved_star.HasField("unparsed_target"):
                kept |= self.untouched
            elif kind == "unresolved_attribute":
                kept.add(item.unresolved_attribute.unparsed_identifier.strip("`").casefold())
            else:  # a cast keeps the name of its column, and SQL text may give another one
                made |= {word.casefold() for word in _WORD.findall(str(item))}
        self.untouched &= frozenset(kept - made)

    def _with_columns(self, with_columns: proto.WithColumns) -> None:
        for alias in with_columns.aliases:
            self._say(*alias.name)
            self._expression(alias.expr)
            self.untouched -= {name.casefold() for name in alias.name}

    def _with_columns_renamed(self, renamed: proto.WithColumnsRenamed) -> None:
        names = [*renamed.rename_columns_map.items(), *((each.col_name, each.new_col_name) for each in renamed.renames)]
        for old, new in names:
            self._say(old, new)
            self.untouched -= {old.casefold(), new.casefold()}

    def _drop(self, drop: proto.Drop) -> None:
        for column in drop.columns:
            self._expression(column)
        self._say(*drop.column_names)
        self.untouched -= {name.casefold() for name in drop.column_names}
        self.untouched -= {word.casefold() for column in drop.columns for word in _WORD.findall(str(column))}

    def _subquery_alias(self, alias: proto.SubqueryAlias) -> None:
        self._say(alias.alias)

    def _expression(self, expression: proto.Expression) -> None:
        kind = expression.WhichOneof("expr_type")
        self._say("(", kind or "")
        read = getattr(self, f"_of_{kind}", None)
        if read is None:
            raise _NotProvenError(f"`Transform` has an expression of the kind `{kind}`")
        read(getattr(expression, kind or ""))
        self._say(")")

    def _of_literal(self, literal: Any) -> None:
        if literal.WhichOneof("literal_type") == "string":
            self._refuse_time_word(literal.string)
        self._say(literal.SerializeToString(deterministic=True).hex())

    def _of_unresolved_attribute(self, attribute: Any) -> None:
        name = attribute.unparsed_identifier
        first, *fields = (part.strip("`") for part in name.split("."))
        is_of_the_file = attribute.is_metadata_column or "_metadata" in (field.casefold() for field in fields)
        if is_of_the_file or _FORBIDDEN_WORDS.fullmatch(first):
            raise _NotProvenError(f"`Transform` reads `{name}`")
        self._say(name)

    def _of_unresolved_star(self, star: Any) -> None:
        self._say(star.unparsed_target)

    def _of_alias(self, alias: Any) -> None:
        self._say(*alias.name)
        self._expression(alias.expr)

    def _of_cast(self, cast: Any) -> None:
        self._say(cast.type_str, cast.type.SerializeToString(deterministic=True).hex(), str(cast.eval_mode))
        self._expression(cast.expr)

    def _of_unresolved_function(self, call: Any) -> None:
        if call.is_user_defined_function or call.is_distinct:
            raise _NotProvenError(f"`Transform` calls `{call.function_name}`, a function of its own or an aggregate")
        self._call(call)

    def _of_call_function(self, call: Any) -> None:
        self._call(call)

    def _call(self, call: Any) -> None:
        if call.function_name.lower() not in FUNCTIONS:
            raise _NotProvenError(f"`Transform` calls `{call.function_name}`, which is not known to need its row alone")
        self._say(call.function_name.lower())
        for argument in call.arguments:
            self._expression(argument)

    def _of_expression_string(self, text: Any) -> None:
        self._sql(text.expression)

    def _of_unresolved_extract_value(self, extract: Any) -> None:
        self._expression(extract.child)
        self._expression(extract.extraction)

    def _of_update_fields(self, update: Any) -> None:
        self._say(update.field_name)
        self._expression(update.struct_expression)
        if update.HasField("value_expression"):
            self._expression(update.value_expression)

    def _of_lambda_function(self, function: Any) -> None:
        for variable in function.arguments:
            self._of_unresolved_named_lambda_variable(variable)
        self._expression(function.function)

    def _of_unresolved_named_lambda_variable(self, variable: Any) -> None:
        # The client numbers the variables of a process: the same plan has others when it is made again.
        name = ".".join(variable.name_parts)
        self._say(str(self._variables.setdefault(name, len(self._variables))))

    def _sql(self, text: str) -> None:
        if objection := sql_objection(text):
            raise _NotProvenError(objection)
        self._say(text)

    def _refuse_time_word(self, text: str) -> None:
        if _TIME_WORD.match(text):
            raise _NotProvenError(f"the text `{text}` may be read as a time")

    def _say(self, *parts: str) -> None:
        for part in parts:
            data = str(part).encode()
            self._digest.update(b"%d:%s" % (len(data), data))


def sql_objection(text: str) -> str:
    """Return what keeps a SQL expression from being known to need its row alone; empty when nothing does.

    Its words are looked at, and no grammar: one that is read as a call and is none costs the whole date at most.
    """
    for quoted in _QUOTED.finditer(text):
        if (quoted["prefix"] or "").casefold() == "r":
            return f"the SQL `{text}` has a raw string"
        content = quoted["single"] or quoted["double"] or ""
        if _ESCAPED_CHARACTER.search(content):
            return f"the SQL `{text}` has a text with a character written by its number"
        if _TIME_WORD.match(content.replace("\\", "")):
            return f"the SQL `{text}` has a text that may be read as a time"
    bare = _QUOTED.sub(lambda quoted: " `` " if quoted["name"] else f"{quoted['prefix'] or ''} 0 ", text)
    if re.search(r"``\s*\(", bare):
        return f"the SQL `{text}` calls a function by a quoted name"
    bare = bare.replace("``", "0")
    if _UNREADABLE.search(bare):
        return f"the SQL `{text}` has a comment, a parameter or an odd quote"
    if word := next((word for word in _WORD.findall(bare) if _FORBIDDEN_WORDS.fullmatch(word)), None):
        return f"the SQL `{text}` has the word `{word}`"
    if name := next((name for name in _CALL.findall(bare) if name.lower() not in FUNCTIONS), None):
        return f"the SQL `{text}` calls `{name}`, which is not known to need its row alone"
    return ""
