"""What a load asks of the warehouse: a statement is a round trip, so a run's later dates repeat nothing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from snowflake.connector.errors import ProgrammingError

from infra.embedded.services.warehouse import WarehouseService
from platform_core.settings import Settings
from tests.rigs.settings_of import settings_of
from warehouse.connection import connect
from warehouse.load import Connection, GoldPartition, TableLoad, load_date

DAY = date(2026, 11, 20)
STATEMENTS_A_DATE = {
    *("CREATE OR", "PUT", "COPY", "DROP TABLE"),  # staging
    *("BEGIN", "DELETE FROM", "MERGE INTO", "SELECT COUNT(*),", "INSERT INTO", "COMMIT"),
}


class Listening:
    """A connection that remembers its statements by how they begin."""

    def __init__(self, connection: Connection, heard: list[str]) -> None:
        self._connection = connection
        self._heard = heard

    def cursor(self) -> Any:
        cursor, heard = self._connection.cursor(), self._heard

        class Cursor:
            def execute(self, statement: str, *values: Any) -> Any:
                words = statement.split()
                heard.append(words[0] if words[0] in ("PUT", "COPY") else " ".join(words[:2]))
                return cursor.execute(statement, *values)

        return Cursor()


@pytest.fixture
def settings(warehouse: WarehouseService) -> Settings:
    return settings_of(warehouse.env())


@pytest.fixture
def heard(settings: Settings) -> list[str]:
    with connect(settings, "test") as connection:
        connection.cursor().execute(f'DROP SCHEMA IF EXISTS "{settings.snowflake_database}"."STATEMENTS" CASCADE')
    return []


def load(
    heard: list[str], settings: Settings, prepared: set[str], number: int, **columns: list[Any]
) -> list[TableLoad]:
    """Load a date of two tables by a connection of its own; they have one more column where it is given."""
    day = DAY + timedelta(days=number)
    rows = pa.table({"day": [day, day], "city": ["a", "b"], "visits": [1, 2], **columns})
    heard.clear()
    with connect(settings, "test") as connection:
        return load_date(
            Listening(connection, heard),
            database=settings.snowflake_database,
            schema="statements",
            domain="orders",
            day=day,
            run_id="run",
            partitions=[GoldPartition(table, ("day", "city"), rows) for table in ("one", "other")],
            prepared=prepared,
        )


def test_later_dates_of_a_run_send_no_ddl_but_for_staging(heard: list[str], settings: Settings) -> None:
    prepared: set[str] = set()
    load(heard, settings, prepared, 0)
    assert heard.count("DESCRIBE TABLE") == 2
    assert [each.inserted for each in load(heard, settings, prepared, 1)] == [2, 2]
    assert set(heard) == STATEMENTS_A_DATE
    assert len(heard) == 17  # seven a table, and the transaction and the ledger of both
    assert [each.changed for each in load(heard, settings, prepared, 1)] == [0, 0]
    assert "INSERT INTO" not in heard


def test_only_what_gold_has_gained_is_added(heard: list[str], settings: Settings) -> None:
    prepared: set[str] = set()
    load(heard, settings, prepared, 0)
    assert [each.updated for each in load(heard, settings, prepared, 0, paid=[3, 4])] == [2, 2]
    assert heard.count("ALTER TABLE") == 2
    load(heard, settings, set(), 0, paid=[3, 4])  # another run
    assert "ALTER TABLE" not in heard


def test_a_table_that_was_dropped_meanwhile_fails_one_date_and_is_made_again(
    heard: list[str], settings: Settings
) -> None:
    prepared: set[str] = set()
    load(heard, settings, prepared, 0)
    with connect(settings, "test") as connection:
        connection.cursor().execute(f'DROP TABLE "{settings.snowflake_database}"."STATEMENTS"."ONE"')
    with pytest.raises(ProgrammingError):
        load(heard, settings, prepared, 1)
    assert [each.inserted for each in load(heard, settings, prepared, 1)] == [2, 2]
