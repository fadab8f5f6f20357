"""What the warehouse stand-in does beyond fakesnow: faults mended, and mistakes refused.

The wire protocol and the sessions belong to `warehouse_server`. Snowflake's own rules are in
https://docs.snowflake.com/en/sql-reference/transactions and
https://docs.snowflake.com/en/sql-reference/sql/merge.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakesnow.conn
import fakesnow.transforms
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse_one
from fakesnow.instance import FakeSnow
from snowflake.connector import errors
from sqlglot import exp

# Statements about accounts, which the stand-in has none of: accepted and ignored.
IGNORED_STATEMENTS = [
    r"^\s*ALTER\s+SESSION",
    r"^\s*GRANT\b",
    r"^\s*REVOKE\b",
    r"^\s*CREATE\s+(OR\s+REPLACE\s+)?(WAREHOUSE|ROLE|STORAGE\s+INTEGRATION|MASKING)",
    r"^\s*REMOVE\s+@",
]
_DDL = {"CREATE", "DROP", "UNDROP", "ALTER", "COMMENT", "GRANT", "REVOKE"}

# https://docs.snowflake.com/en/sql-reference/reserved-keywords, without those that are legal names of columns.
# fmt: off
RESERVED = frozenset({
    "ALL", "ALTER", "AND", "ANY", "AS", "BETWEEN", "BY", "CASE", "CAST", "CHECK", "COLUMN", "CONNECT",
    "CONSTRAINT", "CREATE", "CROSS", "CURRENT", "DELETE", "DISTINCT", "DROP", "ELSE", "EXISTS", "FALSE",
    "FOLLOWING", "FOR", "FROM", "FULL", "GRANT", "GROUP", "HAVING", "ILIKE", "IN", "INCREMENT", "INNER",
    "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "LATERAL", "LEFT", "LIKE", "MINUS", "NATURAL", "NOT", "NULL",
    "OF", "ON", "OR", "ORDER", "QUALIFY", "REGEXP", "REVOKE", "RIGHT", "RLIKE", "ROW", "ROWS", "SAMPLE",
    "SELECT", "SET", "SOME", "START", "TABLE", "TABLESAMPLE", "THEN", "TO", "TRIGGER", "TRUE", "TRY_CAST",
    "UNION", "UNIQUE", "UPDATE", "USING", "VALUES", "WHEN", "WHENEVER", "WHERE", "WITH",
})
# fmt: on
# fmt: off
TYPES = frozenset({
    "DECIMAL", "BIGINT", "INT", "SMALLINT", "TINYINT", "FLOAT", "DOUBLE", "VARCHAR", "CHAR", "TEXT", "BOOLEAN",
    "DATE", "TIME", "DATETIME", "TIMESTAMP", "TIMESTAMPNTZ", "TIMESTAMPLTZ", "TIMESTAMPTZ", "BINARY",
    "VARBINARY", "VARIANT", "OBJECT", "ARRAY", "MAP", "STRUCT", "GEOGRAPHY", "GEOMETRY",
})
# fmt: on


class StrictCursor(FakeSnowflakeCursor):
    """fakesnow's cursor with every failure as a SQL error, and the refusals of this module."""

    def execute(self, command: str, *args: Any, **kwargs: Any) -> StrictCursor:
        """Check, run, and remember whether a transaction is open.

        Raises:
            ProgrammingError: the statement is refused, unsupported or wrong.
        """
        with _as_sql_errors():
            expression = _parsed(command)
            if expression is not None:
                _refuse_reserved_words(expression)
                _refuse_types(expression)
            if in_transaction(self._conn):
                _refuse_ddl(command)
            if isinstance(expression, exp.Merge):
                self._refuse_ambiguous_merge(expression)
            try:
                with self._in_a_schema(expression):
                    super().execute(command, *args, **kwargs)
            finally:
                # A COMMIT that fails has rolled back, so the transaction is over either way.
                if isinstance(expression, exp.Commit | exp.Rollback):
                    _mark_transaction(self._conn, open_=False)
            if isinstance(expression, exp.Transaction):
                _mark_transaction(self._conn, open_=True)
        return self

    @contextlib.contextmanager
    def _in_a_schema(self, expression: exp.Expr | None) -> Iterator[None]:
        """Let a session without a schema MERGE into a table whose name is whole, for which fakesnow asks for one."""
        connection: Any = self._conn
        if not isinstance(expression, exp.Merge) or connection.schema:
            yield
            return
        connection._schema = expression.this.db
        try:
            yield
        finally:
            connection._schema = None

    def _describe_last_sql(self) -> list[Any]:
        with _as_sql_errors():
            return super()._describe_last_sql()

    def _refuse_ambiguous_merge(self, merge: exp.Merge) -> None:
        matched = [when for when in merge.args["whens"] if when.args.get("matched")]
        # Bound values would need their positions rewritten; the load binds none.
        if not matched or merge.find(exp.Placeholder):
            return
        predicate: exp.Expr = merge.args["on"].copy()
        conditions = [when.args.get("condition") for when in matched]
        if all(conditions):
            predicate = exp.and_(predicate, exp.or_(*(condition.copy() for condition in conditions)))
        target, source = merge.this, merge.args["using"]
        row = f"{target.alias_or_name}.rowid"
        probe = (
            f"SELECT COUNT(*) FROM (SELECT {row} AS r FROM {target.sql('snowflake')} "
            f"JOIN {source.sql('snowflake')} ON {predicate.sql('snowflake')} "
            f"GROUP BY {row} HAVING COUNT(*) > 1)"
        )
        with self._conn.cursor() as cursor:
            [(rows,)] = cursor.execute(probe).fetchall()
        if rows:
            raise errors.ProgrammingError(
                msg=f"Duplicate row detected during DML action: {rows} target rows match several source "
                "rows. Make the source unique on the MERGE condition.",
                errno=100090,
                sqlstate="42P18",
            )


def in_transaction(connection: Any) -> bool:
    """Tell whether the session has an explicit transaction open."""
    return bool(getattr(connection, "pdp_in_transaction", False))


def _mark_transaction(connection: Any, *, open_: bool) -> None:
    connection.pdp_in_transaction = open_


def install() -> None:
    """Make every connection of this process strict. Called once, before the first connection."""
    fakesnow.conn.FakeSnowflakeCursor = StrictCursor  # type: ignore[attr-defined]
    original = fakesnow.transforms.extract_comment_on_table

    @functools.wraps(original)
    def without_empty_comment(expression: exp.Expr) -> exp.Expr:
        # A TEMPORARY or TRANSIENT table without a comment would record the comment "None" in a second
        # database, which DuckDB refuses inside a transaction: it made every MERGE in BEGIN..COMMIT fail.
        changed = original(expression)
        comment = changed.args.get("table_comment")
        if comment and comment[1] is None:
            changed.args.pop("table_comment")
        return changed

    fakesnow.transforms.extract_comment_on_table = without_empty_comment


def self_test(folder: Path) -> None:
    """Prove on a scratch database in `folder` what the load relies on and fakesnow alone does not do.

    Raises:
        RuntimeError: a transaction with DELETE and MERGE gives wrong rows, or a refusal does not happen; the
            installed fakesnow does not fit this module.
    """
    connection = FakeSnow(db_path=folder).connect("SELFTEST", "T")

    def run(*statements: str) -> list[Any]:
        rows: list[Any] = []
        for statement in statements:
            rows = connection.cursor().execute(statement).fetchall()
        return rows

    delete = "DELETE FROM T t WHERE NOT EXISTS (SELECT 1 FROM S s WHERE s.K = t.K)"
    merge = (
        "MERGE INTO T t USING S s ON t.K = s.K WHEN MATCHED THEN UPDATE SET V = s.V "
        "WHEN NOT MATCHED THEN INSERT (K, V) VALUES (s.K, s.V)"
    )
    rows = "SELECT K, V FROM T ORDER BY K"
    run('CREATE TABLE T (K VARCHAR NOT NULL, V NUMBER(9,2), "ORDER" VARCHAR)', "CREATE TRANSIENT TABLE S LIKE T")
    run("INSERT INTO T (K, V) VALUES ('gone', 1), ('kept', 2)", "INSERT INTO S (K, V) VALUES ('kept', 3), ('new', 4)")
    before = run(rows)
    _expect("a rolled back load changes nothing", run("BEGIN", delete, merge, "ROLLBACK", rows) == before)
    after = [(key, int(value)) for key, value in run("BEGIN", delete, merge, "COMMIT", rows)]
    _expect("a committed load deletes, updates and inserts", after == [("kept", 3), ("new", 4)])
    run("BEGIN")
    _expect("DDL in a transaction is refused", _fails(run, "CREATE TABLE U (K VARCHAR)", "explicit"))
    run("ROLLBACK", "INSERT INTO S (K, V) VALUES ('kept', 5)")
    _expect("a MERGE with duplicate keys is refused", _fails(run, merge, "Duplicate row"))
    _expect("a reserved word without quotes is refused", _fails(run, "SELECT ORDER FROM T", "reserved word"))
    described = [row[0] for row in run("DESCRIBE TABLE T")]
    _expect("a table's columns are described by their names", described == ["K", "V", "ORDER"])
    _expect("a NULL key is refused", _fails(run, "INSERT INTO T (V) VALUES (1)", "NOT NULL"))
    for kind in ("HUGEINT", "NUMBER(39,0)", "NUMBER(38,38)"):
        _expect(f"{kind} is refused", _fails(run, f"CREATE TABLE U (K {kind})", "unsupported data type"))
    connection.close()


def _expect(promise: str, kept: bool) -> None:
    if not kept:
        raise RuntimeError(f"warehouse self-test failed: {promise}; pin the fakesnow version that the lock names")


def _fails(run: Any, statement: str, reason: str) -> bool:
    try:
        run(statement)
    except errors.ProgrammingError as error:
        return reason in str(error)
    return False


def _parsed(command: str) -> exp.Expr | None:
    try:
        return parse_one(command)
    except errors.ProgrammingError:
        # fakesnow reports a syntax error itself, unless the statement is one of the ignored ones.
        return None


def _refuse_reserved_words(expression: exp.Expr) -> None:
    for name in expression.find_all(exp.Identifier):
        if not name.args.get("quoted") and name.name.upper() in RESERVED:
            raise errors.ProgrammingError(
                msg=f"SQL compilation error: syntax error: unexpected '{name.name}'. It is a reserved word: put it in"
                " double quotes, in upper case.",
                errno=1003,
                sqlstate="42000",
            )


def _refuse_types(expression: exp.Expr) -> None:
    for column in expression.find_all(exp.ColumnDef):
        kind = column.args.get("kind")
        if kind is None:
            continue
        numbers = [int(each.name) for each in kind.expressions if each.name.isdigit()] if kind.expressions else []
        too_wide = kind.this.name == "DECIMAL" and (numbers[:1] > [38] or numbers[1:2] > [37])
        if kind.this.name not in TYPES or too_wide:
            raise errors.ProgrammingError(
                msg=f"SQL compilation error: unsupported data type '{kind.sql('snowflake')}' of column {column.name}.",
                errno=2040,
                sqlstate="42601",
            )


def _refuse_ddl(command: str) -> None:
    words = [token.text.upper() for token in sqlglot.tokenize(command, read="snowflake")[:2]]
    if words and words[0] in _DDL and words[1:] != ["SESSION"]:
        raise errors.ProgrammingError(
            msg=f"{words[0]} inside an explicit transaction: Snowflake would commit what came before it. "
            "Run DDL before BEGIN or after COMMIT.",
            errno=2140,
            sqlstate="25000",
        )


@contextlib.contextmanager
def _as_sql_errors() -> Iterator[None]:
    """Turn whatever breaks into a SQL error: the connector retries an HTTP 500 until its time is over."""
    try:
        yield
    except errors.Error:
        raise
    except Exception as error:
        raise errors.ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=2140, sqlstate="0A000") from error
