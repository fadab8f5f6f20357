"""The columns that a SQL expression names, for `F.expr` and `selectExpr`, which reach the plan as text.

sqlglot parses the text; here is only which of its names are columns, and when there is no answer: a subquery, a star
that is not counted, a parameter, and a word that is the name of a column but was read as something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from spark_jobs.lineage.fields import unknown

_UNREADABLE = (exp.Query, exp.Aliases, exp.Placeholder, exp.Parameter, exp.SessionParameter)


@dataclass(frozen=True)
class SqlNames:
    """What a SQL expression names.

    Attributes:
        columns: Columns, each as its parts: qualifier or column, then nested fields.
        output: The name of the result: its alias, or the column that it is alone; None when the engine makes one up.
        counts_rows: Whether it contains `count(*)` or the count of a literal.
    """

    columns: tuple[tuple[str, ...], ...]
    output: str | None
    counts_rows: bool


def sql_names(text: str, is_column: Callable[[str], bool]) -> SqlNames:
    """Return the names in a SQL expression, with or without an alias.

    Args:
        text: The expression.
        is_column: Whether a name is one of a column in scope: for words that may be something else too.

    Raises:
        LineageUnknownError: the text is no single expression, or what it names is not certain.
    """
    tree = _parsed(text)
    columns = tuple(tuple(part.name for part in column.parts) for column in tree.find_all(exp.Column, bfs=False))
    counted = [count for count in tree.find_all(exp.Count) if isinstance(count.this, (exp.Star, exp.Literal))]
    stars = [star for star in tree.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
    for unreadable in (*stars, *tree.find_all(*_UNREADABLE)):
        raise unknown(f"`{unreadable.sql('spark')}` in the SQL text `{text}`")
    # sqlglot compares a lambda's variable with its uses by case, and Spark does not.
    variables = {name.name.casefold() for function in tree.find_all(exp.Lambda) for name in function.expressions}
    if any(parts[0].casefold() in variables for parts in columns):
        raise unknown(f"a column has the name of a lambda's variable in the SQL text `{text}`")
    # The unit of `dateadd(day, 1, x)`, a type and a keyword are no columns, unless a column has that name.
    understood = {identifier.name.casefold() for identifier in tree.find_all(exp.Identifier)}
    for word in _words(text):
        if word not in understood and is_column(word):
            raise unknown(f"`{word}` in the SQL text `{text}` is a column, or is not")
    output = tree.alias_or_name if isinstance(tree, (exp.Alias, exp.Column)) else None
    return SqlNames(columns, output, bool(counted))


def _parsed(text: str) -> exp.Expr:
    try:
        statements = sqlglot.parse(f"select {text}", read="spark")
    except SqlglotError as error:
        raise unknown(f"the SQL text `{text}` was not understood") from error
    clauses = {name: value for each in statements if each for name, value in each.args.items() if value}
    match clauses:
        case {"expressions": [exp.Expr() as expression]} if len(statements) == len(clauses) == 1:
            return expression.pop()
    raise unknown(f"the SQL text `{text}` is not one expression")


def _words(text: str) -> Iterator[str]:
    tokens = sqlglot.tokenize(text, read="spark")
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        is_call = after is not None and after.token_type is TokenType.L_PAREN
        if token.token_type is not TokenType.STRING and not is_call:
            yield token.text.casefold()
