"""What a session may not ask of a server that others have, too: files, functions from files and views that all see.

Sessions have one class loader (`connect_channel`), so that a second file of a name stops every query of the server
until it is started again, and a global view of one date would be read by another. Domain code is refused before the
server hears of it; what else a statement does is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn, cast

from pyspark.sql.connect.client import SparkConnectClient

from platform_core.errors import PermanentError

_COMMENT_OR_TEXT = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`", re.DOTALL
)
_FILE = r"(?:JAR|FILE|ARCHIVE)S?"
_ADDS = re.compile(rf"\s*(ADD\s+{_FILE}|CREATE\b.*?\bFUNCTION\b.*?\bUSING\s+{_FILE})\b", re.IGNORECASE | re.DOTALL)
_SHOWS = re.compile(r"\s*(CREATE\s+(?:OR\s+REPLACE\s+)?GLOBAL\s+TEMP(?:ORARY)?\s+VIEW)\b", re.IGNORECASE)
_OF_STATEMENTS = re.compile(r"\s*(?:\S+\s*:\s*)?BEGIN\b", re.IGNORECASE)
_EXECUTES = re.compile(r"\bEXECUTE\s+IMMEDIATE\b", re.IGNORECASE)


def keep_to_itself(client: SparkConnectClient) -> None:
    """Refuse what the client of a session would ask for all sessions of its server, by a `PermanentError`."""
    execute: Callable[..., Any] = client.execute_command

    def refusing(command: Any, *arguments: Any, **named: Any) -> Any:
        if command.create_dataframe_view.is_global:
            _refuse_view("createGlobalTempView")
        query = command.sql_command.input
        refuse_statement((query.with_relations.root if query.HasField("with_relations") else query).sql.query)
        return execute(command, *arguments, **named)

    changed = cast(Any, client)
    changed.add_artifacts = _refuse_files
    changed.execute_command = refusing


def refuse_statement(sql: str) -> None:
    """Refuse SQL whose effect is not its session's alone.

    Raises:
        PermanentError: it adds a file, or makes a function of one or a global view.
    """
    bare = _COMMENT_OR_TEXT.sub(lambda found: " " if found["comment"] else "''", sql)
    executes = _EXECUTES.search(bare)
    # What a text or a quoted name says is no statement, unless it is executed.
    text = _COMMENT_OR_TEXT.sub(lambda found: " " if found["comment"] else found[0], sql) if executes else bare
    # A script, or a text that is executed, has statements anywhere.
    look = "search" if executes or _OF_STATEMENTS.match(text) else "match"
    if found := getattr(_ADDS, look)(text):
        _refuse_files(as_=f"`{' '.join(found[1].split()[:2]).upper()} …` in SQL")
    if found := getattr(_SHOWS, look)(text):
        _refuse_view(" ".join(found[1].split()).upper())


def _refuse_files(*_paths: str, as_: str = "`addArtifact`", **_of_kind: bool) -> NoReturn:
    raise PermanentError(
        f"A `Transform` or an `Aggregation` sends files to the engine ({as_}), whose sessions would all have them. Put"
        " the code into the function itself, or install it where the engine's functions run."
    )


def _refuse_view(as_: str) -> NoReturn:
    raise PermanentError(
        f"A `Transform` or an `Aggregation` makes a view that all sessions of the engine would have (`{as_}`), another"
        " date's too. Make it a temporary view of its own session: `createOrReplaceTempView`, `CREATE OR REPLACE"
        " TEMPORARY VIEW`."
    )
