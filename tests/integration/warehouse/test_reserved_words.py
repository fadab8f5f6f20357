"""Names that are words of SQL, through the load and the audit's reading, on the stand-in that refuses them unquoted."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest
from snowflake.connector.errors import ProgrammingError

from audit.warehouse_tables import WarehouseTables
from infra.embedded.services.warehouse import WarehouseService
from pdp.actions import leftovers
from platform_core.domain.catalog import load_catalog
from platform_core.partitions.date_range import DateRange
from platform_core.settings import REPOSITORY
from tests.rigs.settings_of import settings_of
from warehouse.connection import connect
from warehouse.load import GoldPartition, TableLoad, load_date

DAY = date(2026, 11, 20)
KEYS = ("order_date", "order")


def test_schemas_tables_and_columns_may_be_words_of_sql(warehouse: WarehouseService) -> None:
    settings = settings_of(warehouse.env())
    money = pa.array([Decimal("1.10"), Decimal("2.20")], pa.decimal128(9, 2))
    gold = pa.table({"order_date": [DAY, DAY], "order": ["a", "b"], "select": money})
    domain = load_catalog(REPOSITORY / "domains" / "domains.yaml")["orders"]
    tables = domain.gold.model_copy(update={"tables": {"group": KEYS}})
    domain = domain.model_copy(update={"warehouse_schema": "table", "gold": tables})
    with connect(settings, "test") as connection:

        def load(rows: pa.Table) -> TableLoad:
            [loaded] = load_date(
                connection,
                database=settings.snowflake_database,
                schema="table",
                domain="orders",
                day=DAY,
                run_id="run",
                partitions=[GoldPartition("group", KEYS, rows)],
            )
            return loaded

        assert load(gold).inserted == 2
        assert load(gold).changed == 0
        assert (load(gold.slice(1)).deleted, load(gold).inserted) == (1, 1)
        in_warehouse = WarehouseTables(connection, settings.snowflake_database, domain)
        assert in_warehouse.dates(DateRange()) == {DAY}
        assert in_warehouse.totals("group", DAY, gold.schema).sums == {"SELECT": Decimal("3.30")}
        [row] = in_warehouse.group("group", {"order": "b"})
        assert row["select"] == Decimal("2.20")

        left = {each.name for each in leftovers.warehouse_tables(settings, {"ORDERS"})}
        assert "TABLE.GROUP" in left and not any(name.startswith("PLATFORM.") for name in left)
        assert "TABLE.GROUP" not in {each.name for each in leftovers.warehouse_tables(settings, {"TABLE"})}

        place = f'"{settings.snowflake_database}"."TABLE"'
        for refused in (
            f'SELECT ORDER FROM {place}."GROUP"',
            f"SELECT COUNT(*) FROM {place}.GROUP",
            f"CREATE TABLE {place}.T (K HUGEINT)",
            f'INSERT INTO {place}."GROUP" ("SELECT") VALUES (1)',
        ):
            with pytest.raises(ProgrammingError):
                connection.cursor().execute(refused)
