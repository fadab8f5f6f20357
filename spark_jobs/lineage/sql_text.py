"""The columns that a SQL expression names, for `F.expr` and `selectExpr`, which reach the plan as text.

Only names are found here, not their meaning: a word is a column unless its place makes it a keyword, a function, a
type, a unit or a lambda's variable. Where a word could be two of these, there is no answer:
https://spark.apache.org/docs/latest/sql-ref-identifier.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from spark_jobs.lineage.fields import unknown

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>[rR]?(?:'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"))
    |(?P<quoted>`(?:[^`]|``)+`)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?[A-Za-z]{0,2}\b|\.\d+)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>->|=>|::|--|/\*|.)""",
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYWORDS = _words("""
    all and any asc between by case current desc distinct div else end escape false first following ilike in is last
    like not null nulls or order over partition preceding range regexp rlike row rows some then true unbounded when
""")
_CONSTANTS = _words("current_date current_timestamp current_time localtimestamp current_user session_user user")
_TYPED_LITERALS = _words("date time timestamp timestamp_ltz timestamp_ntz x")
_UNITS = _words("""
    year years quarter quarters month months week weeks day days dayofyear hour hours minute minutes second seconds
    millisecond milliseconds microsecond microseconds nanosecond nanoseconds
""")
# What begins a construct whose words this module cannot place: a subquery, `trim(both from x)`, `extract(day from x)`.
_UNREADABLE_WORDS = _words("both collate extract filter from leading select similar to trailing where within")
_UNREADABLE_SIGNS = frozenset((":", "?", "@", "{", "}", ";", "--", "/*"))


@dataclass(frozen=True)
class SqlNames:
    """What a SQL expression names.

    Attributes:
        columns: Columns, each as its parts: qualifier or column, then nested fields.
        output: The name of the result: its alias, or the column that it is alone; None when the engine makes one up.
        counts_rows: Whether it contains `count(*)` or the count of a number.
    """

    columns: tuple[tuple[str, ...], ...]
    output: str | None
    counts_rows: bool


def sql_names(text: str, is_column: Callable[[str], bool]) -> SqlNames:
    """Return the names in a SQL expression.

    Args:
        text: The expression, with or without an alias.
        is_column: Whether a name is one of a column in scope: for words that may be something else too.

    Raises:
        LineageUnknownError: a word's meaning is not certain.
    """
    return _Reader(text, is_column).read()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else ""

    @property
    def is_name(self) -> bool:
        return self.kind in ("word", "quoted")

    @property
    def name(self) -> str:
        return self.text[1:-1].replace("``", "`") if self.kind == "quoted" else self.text


_END = _Token("end", "")


class _Reader:
    def __init__(self, text: str, is_column: Callable[[str], bool]) -> None:
        self._text = text
        self._is_column = is_column
        found = [_Token(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(text)]
        self._tokens = [token for token in found if token.kind != "space"]
        self._at = 0
        self._calls: list[str] = []
        self._columns: list[tuple[str, ...]] = []
        self._alias: str | None = None
        self._counts_rows = False
        self._variables = self._lambda_variables()

    def read(self) -> SqlNames:
        while self._at < len(self._tokens):
            token = self._peek()
            if token.is_name:
                self._read_word(token)
            else:
                self._read_sign(token)
        alone = len(self._columns) == 1 and ".".join(self._columns[0]) == "".join(token.name for token in self._tokens)
        return SqlNames(tuple(self._columns), self._columns[0][-1] if alone else self._alias, self._counts_rows)

    def _peek(self, ahead: int = 0) -> _Token:
        at = self._at + ahead
        return self._tokens[at] if 0 <= at < len(self._tokens) else _END

    def _read_sign(self, token: _Token) -> None:
        if token.text in _UNREADABLE_SIGNS or token.text in ("'", '"', "`"):
            raise self._unknown(token)
        if token.text == "*" and not self._ends_operand(self._peek(-1)):
            # `count(*)` counts rows, but `count(distinct *)` and `struct(*)` see every column.
            if self._calls[-1:] != ["count"] or self._peek(-1).text != "(":
                raise self._unknown(token)
        elif token.text == ".":
            # A field of what is before it: `items[0].name`, `f(x).name`.
            if not self._peek(1).is_name:
                raise self._unknown(token)
            self._at += 1
        elif token.text == "(":
            self._calls.append(self._peek(-1).word)
        elif token.text == ")" and self._calls:
            self._calls.pop()
        elif token.text == "::":
            self._at += 1
            if self._peek(1).text == "<":
                raise self._unknown(self._peek())
        self._at += 1

    @staticmethod
    def _ends_operand(token: _Token) -> bool:
        if token.kind == "word":
            return token.word not in _KEYWORDS or token.word in ("end", "null", "true", "false")
        return token.text in (")", "]") or token.kind in ("number", "string", "quoted")

    def _read_word(self, token: _Token) -> None:
        word, after = token.word, self._peek(1)
        if after.text == "." or token.kind == "quoted":
            self._read_path()
        elif word == "as":
            self._read_as()
        elif word == "interval" and after.kind in ("number", "string"):
            self._read_interval()
        elif word == "from" and self._peek(-1).word == "distinct":
            self._at += 1
        elif word in _UNREADABLE_WORDS and after.text != "(":
            raise self._unknown(token)
        elif after.text == "(":
            # `dateadd(day, 1, x)`: the first argument is no column, but in `date_add(day, 1)` it is one.
            if word == "extract" or self._peek(2).word in _UNITS:
                raise self._unknown(token)
            self._counts_rows |= word == "count" and (self._peek(2).text == "*" or self._peek(2).kind == "number")
            self._at += 1
        elif after.text == "=>" or token.name in self._variables:
            self._at += 1
        elif after.kind == "string" and word in _TYPED_LITERALS:
            self._at += 2
        elif word in _KEYWORDS:
            if self._is_column(token.name):
                raise self._unknown(token)
            self._at += 1
        elif word in _CONSTANTS and not self._is_column(token.name):
            self._at += 1
        else:
            self._read_path()

    def _read_path(self) -> None:
        parts = [self._peek().name]
        while self._peek(1).text == "." and self._peek(2).is_name:
            parts.append(self._peek(2).name)
            self._at += 2
        after = self._peek(1)
        if after.text == "." or (after.text == "(" and len(parts) > 1):
            raise self._unknown(after)
        if parts[0] not in self._variables:
            self._columns.append(tuple(parts))
        self._at += 1

    def _read_as(self) -> None:
        if self._calls[-1:] in (["cast"], ["try_cast"]):
            depth = len(self._calls)
            while self._at < len(self._tokens):
                token = self._peek()
                depth += (token.text == "(") - (token.text == ")")
                if depth < len(self._calls):
                    return
                self._at += 1
            return
        if not self._peek(1).is_name:
            raise self._unknown(self._peek(1))
        if not self._calls:
            self._alias = self._peek(1).name
        self._at += 2

    def _read_interval(self) -> None:
        self._at += 2
        while (
            self._peek().word in _UNITS
            or self._peek().word == "to"
            or (self._peek().kind in ("number", "string") and self._peek(1).word in _UNITS)
        ):
            self._at += 1

    def _lambda_variables(self) -> frozenset[str]:
        names: set[str] = set()
        for at, token in enumerate(self._tokens):
            if token.text != "->":
                continue
            before = at - 1
            if self._tokens[before].text == ")":
                while before > 0 and self._tokens[before].text != "(":
                    before -= 1
            names.update(found.name for found in self._tokens[before:at] if found.is_name)
        for name in names:
            # The variable hides the column within the lambda, and only there.
            if self._is_column(name):
                raise unknown(f"`{name}` in `{self._text}` is a column and a variable of a lambda", text=self._text)
        return frozenset(names)

    def _unknown(self, token: _Token) -> Exception:
        return unknown(f"`{token.text}` in the SQL text `{self._text}`", text=self._text)
