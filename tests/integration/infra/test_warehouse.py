"""The Snowflake stand-in keeps the promises that the load relies on, and refuses what Snowflake would punish."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import snowflake.connector
from snowflake.connector import errors
from snowflake.connector.cursor import SnowflakeCursor

from infra.embedded.services.warehouse import WarehouseService

DELETE = "DELETE FROM T t WHERE NOT EXISTS (SELECT 1 FROM S s WHERE s.K = t.K)"
MERGE = (
    "MERGE INTO T t USING S s ON t.K = s.K WHEN MATCHED THEN UPDATE SET V = s.V "
    "WHEN NOT MATCHED THEN INSERT (K, V) VALUES (s.K, s.V)"
)
ROWS = "SELECT K, V FROM T ORDER BY K"
BEFORE = [("gone", Decimal("1.00")), ("kept", Decimal("2.00"))]
AFTER = [("kept", Decimal("3.00")), ("new", Decimal("4.00"))]


def connect(
    warehouse: WarehouseService, schema: str = "GOLD", **change: Any
) -> snowflake.connector.SnowflakeConnection:
    env = warehouse.env()
    options: dict[str, Any] = {
        "account": env["SNOWFLAKE_ACCOUNT"],
        "user": env["SNOWFLAKE_USER"],
        "password": env["SNOWFLAKE_PASSWORD"],
        "host": env["SNOWFLAKE_HOST"],
        "port": int(env["SNOWFLAKE_PORT"]),
        "protocol": env["SNOWFLAKE_PROTOCOL"],
        "database": env["SNOWFLAKE_DATABASE"],
        "schema": schema,
        "network_timeout": 20,
        "login_timeout": 10,
        "platform_detection_timeout_seconds": 0,
        "session_parameters": {"TIMEZONE": "UTC"},
    }
    return snowflake.connector.connect(**options | change)


@pytest.fixture
def cursor(warehouse: WarehouseService) -> Iterator[SnowflakeCursor]:
    """A session on a schema of its own, with a target T and a staging table S."""
    with connect(warehouse, schema=f"S_{uuid.uuid4().hex[:8].upper()}") as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE T (K VARCHAR, V NUMBER(18,2))")
        cursor.execute("CREATE TRANSIENT TABLE S LIKE T")
        cursor.execute("INSERT INTO T VALUES ('gone', 1), ('kept', 2)")
        cursor.execute("INSERT INTO S VALUES ('kept', 3), ('new', 4)")
        yield cursor


def rows(cursor: SnowflakeCursor) -> list[Any]:
    return cursor.execute(ROWS).fetchall()


def test_a_committed_load_deletes_updates_and_inserts(cursor: SnowflakeCursor) -> None:
    for statement in ("BEGIN", DELETE, MERGE, "COMMIT"):
        cursor.execute(statement)
    assert rows(cursor) == AFTER


def test_a_rolled_back_load_changes_nothing(cursor: SnowflakeCursor) -> None:
    for statement in ("BEGIN", DELETE, MERGE, "ROLLBACK"):
        cursor.execute(statement)
    assert rows(cursor) == BEFORE


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE X (A INT)", "DROP TABLE S", "alter table T add column B INT", "GRANT SELECT ON T TO ROLE R"],
)
def test_ddl_in_a_transaction_is_refused_and_the_transaction_goes_on(cursor: SnowflakeCursor, statement: str) -> None:
    cursor.execute("BEGIN")
    cursor.execute(DELETE)
    with pytest.raises(errors.ProgrammingError, match="inside an explicit transaction"):
        cursor.execute(statement)
    cursor.execute(MERGE)
    cursor.execute("COMMIT")
    assert rows(cursor) == AFTER
    cursor.execute("CREATE TABLE X (A INT)")


def test_a_merge_whose_target_row_matches_twice_is_refused(cursor: SnowflakeCursor) -> None:
    cursor.execute("INSERT INTO S VALUES ('kept', 5)")
    with pytest.raises(errors.ProgrammingError, match="Duplicate row") as refusal:
        cursor.execute(MERGE)
    assert refusal.value.errno == 100090
    assert rows(cursor) == BEFORE


def test_a_duplicate_that_no_clause_matches_is_inserted_twice_as_in_snowflake(cursor: SnowflakeCursor) -> None:
    cursor.execute("INSERT INTO S VALUES ('new', 5)")
    cursor.execute(MERGE)
    assert [key for key, _ in rows(cursor)] == ["gone", "kept", "new", "new"]


def test_what_is_not_supported_fails_at_once_as_a_sql_error(cursor: SnowflakeCursor) -> None:
    started = time.monotonic()
    with pytest.raises(errors.ProgrammingError, match="PATTERN"):
        cursor.execute("COPY INTO T FROM @NOWHERE PATTERN = 'x'")
    assert time.monotonic() - started < 60  # the connector tries an outage again for two minutes


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"user": "somebody"}])
def test_a_wrong_login_is_refused(warehouse: WarehouseService, change: dict[str, str]) -> None:
    with pytest.raises(errors.DatabaseError, match="Incorrect username or password"):
        connect(warehouse, **change)


def test_data_survives_a_restart_and_an_idle_transaction_does_not(tmp_path: Path) -> None:
    def start() -> WarehouseService:
        return WarehouseService(tmp_path / "w", durable=True, idle_transaction_seconds=1)

    with start() as warehouse:
        cursor = connect(warehouse).cursor()
        cursor.execute("CREATE TABLE KEPT AS SELECT 1 AS N")
        cursor.execute("BEGIN")
        cursor.execute("DELETE FROM KEPT")
        deadline = time.monotonic() + 60
        while "session_ended reason=idle" not in warehouse.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(errors.ProgrammingError, match="idled too long"):
            cursor.execute("COMMIT")
        assert connect(warehouse).cursor().execute("DELETE FROM KEPT WHERE N = 2").fetchall() == [(0,)]
    with start() as warehouse:
        assert connect(warehouse).cursor().execute("SELECT N FROM KEPT").fetchall() == [(1,)]
