"""Gold → warehouse, on the stand-in: a row lost, doubled, changed or invented is named by its grain."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import snowflake.connector

from audit.report import AuditReport, Stage
from audit.run import audit
from audit.trace import trace
from infra.embedded.services.warehouse import WarehouseService
from platform_core.domain.catalog import Catalog
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake
from tests.rigs.settings_of import settings_of
from warehouse.load import GoldPartition, LoadMismatchError, load_date


class Loaded:
    """A lake of two dates, and a warehouse that has them in a schema of its own."""

    def __init__(self, warehouse: WarehouseService, folder: Path) -> None:
        self.env = warehouse.env()
        self.made = AuditLake(Settings(lake_uri=str(folder), snowflake_database=self.env["SNOWFLAKE_DATABASE"])).make()
        self.schema = f"AUDIT_{uuid.uuid4().hex[:8].upper()}"
        self.made.domain = self.made.domain.model_copy(update={"warehouse_schema": self.schema})
        self.settings = settings_of({**self.env, "LAKE_URI": str(folder)})
        self.connection = self.connect()
        for number in range(2):
            self.load(number)

    def connect(self) -> snowflake.connector.SnowflakeConnection:
        return snowflake.connector.connect(
            account=self.env["SNOWFLAKE_ACCOUNT"],
            user=self.env["SNOWFLAKE_USER"],
            password=self.env["SNOWFLAKE_PASSWORD"],
            host=self.env["SNOWFLAKE_HOST"],
            port=int(self.env["SNOWFLAKE_PORT"]),
            protocol=self.env["SNOWFLAKE_PROTOCOL"],
            database=self.env["SNOWFLAKE_DATABASE"],
            platform_detection_timeout_seconds=0,
        )

    def load(self, number: int) -> None:
        day, domain, lake = FIRST_DAY + timedelta(days=number), self.made.domain, self.made.lake
        parts = [
            GoldPartition(
                table,
                keys,
                lake.delta(lake.gold(domain, table)).to_pyarrow_table(filters=[("order_date", "=", day)]),
            )
            for table, keys in domain.gold.tables.items()
        ]
        load_date(
            self.connection,
            database=self.env["SNOWFLAKE_DATABASE"],
            schema=self.schema,
            domain="orders",
            day=day,
            run_id="run",
            partitions=parts,
        )

    def sql(self, statement: str) -> None:
        self.connection.cursor().execute(statement.replace("HOME", f"{self.env['SNOWFLAKE_DATABASE']}.{self.schema}"))

    def look(self, **arguments) -> AuditReport:
        configured = arguments.pop("settings", self.settings)
        return audit(configured, Catalog([self.made.domain]), self.made.lake, stages={Stage.WAREHOUSE}, **arguments)

    def problem(self) -> tuple[str, int, str]:
        [found] = self.look().problems
        assert (found.stage, found.day) == (Stage.WAREHOUSE, FIRST_DAY)
        return found.kind.value, found.count, found.where


@pytest.fixture
def loaded(warehouse: WarehouseService, tmp_path: Path) -> Iterator[Loaded]:
    loaded = Loaded(warehouse, tmp_path / "lake")
    yield loaded
    loaded.connection.close()


def test_what_happened_after_the_load_is_named_by_its_grain(loaded):
    report = loaded.look()
    assert report.clean
    [summary] = report.summary()
    rows = summary.equations[0].count
    assert str(summary.equations[0]) == f"gold rows {rows} = warehouse {rows}"

    loaded.sql(f"DELETE FROM HOME.ORDERS WHERE ORDER_DATE = '{FIRST_DAY}' AND CITY = 'Rome'")
    assert loaded.problem() == ("missing", 1, f"order_date={FIRST_DAY} city=Rome currency=EUR")
    loaded.load(0)

    loaded.sql(f"INSERT INTO HOME.ORDERS SELECT * FROM HOME.ORDERS WHERE ORDER_DATE = '{FIRST_DAY}' AND CITY = 'Oslo'")
    assert loaded.problem() == ("duplicate", 1, f"order_date={FIRST_DAY} city=Oslo currency=EUR")
    loaded.sql(f"DELETE FROM HOME.ORDERS WHERE ORDER_DATE = '{FIRST_DAY}'")
    loaded.load(0)

    loaded.sql(
        "UPDATE HOME.ORDERS_BY_RESTAURANT SET NET_REVENUE = NET_REVENUE + 0.01"
        f" WHERE ORDER_DATE = '{FIRST_DAY}' AND RESTAURANT_ID = 2"
    )
    kind, count, where = loaded.problem()
    assert (kind, count) == ("differs", 1)
    assert where.startswith(f"order_date={FIRST_DAY} restaurant_id=2 currency=EUR (net_revenue: Gold ")
    loaded.load(0)

    loaded.sql(f"UPDATE HOME.ORDERS SET CITY = 'Nowhere' WHERE ORDER_DATE = '{FIRST_DAY}' AND CITY = 'Rome'")
    loaded.sql(f"UPDATE HOME.ORDERS SET ORDERS = ORDERS + 1 WHERE ORDER_DATE = '{FIRST_DAY}' AND CITY = 'Nowhere'")
    kinds = {problem.kind.value: problem.where for problem in loaded.look().problems}
    assert kinds == {
        "missing": f"order_date={FIRST_DAY} city=Rome currency=EUR",
        "phantom": f"order_date={FIRST_DAY} city=Nowhere currency=EUR",
    }

    loaded.sql("DROP TABLE HOME.ORDERS")
    found = loaded.look().problems
    assert {(problem.kind.value, problem.count) for problem in found} == {("missing", 3)}
    assert {problem.day for problem in found} == {FIRST_DAY, FIRST_DAY + timedelta(days=1)}


def test_a_load_whose_sums_would_differ_from_gold_is_rolled_back(loaded):
    """The warehouse's column has no cents: the sum over what was staged is that of the table, and not Gold's."""
    loaded.sql("DROP TABLE HOME.ORDERS")
    loaded.sql(
        "CREATE TABLE HOME.ORDERS (CITY VARCHAR, ORDERS NUMBER(38,0), NET_REVENUE NUMBER(38,0), ORDER_DATE DATE,"
        " _LOADED_AT TIMESTAMP_NTZ(6), _RUN_ID VARCHAR)"
    )
    with pytest.raises(LoadMismatchError, match="rolled back"):
        loaded.load(0)
    assert {problem.kind.value for problem in loaded.look().problems} == {"missing"}


def test_what_a_lost_lake_has_loaded_of_dates_before_its_first_one_is_counted_and_no_problem(loaded):
    whole = loaded.look().summary()[0].equations[1].count
    for table in loaded.made.domain.gold.tables:
        loaded.made.lake.delta(loaded.made.lake.gold(loaded.made.domain, table)).delete(f"order_date = '{FIRST_DAY}'")
    assert {problem.kind.value for problem in loaded.look().problems} == {"phantom"}

    first = {"start_date": FIRST_DAY + timedelta(days=1)}
    loaded.made.domain = loaded.made.domain.model_copy(update=first)
    report = loaded.look()
    assert report.clean
    [_, of_the_warehouse] = report.summary()[0].equations
    assert of_the_warehouse.count == whole
    assert of_the_warehouse.parts["before_start_date"] == whole - of_the_warehouse.parts["gold"]

    # What Gold has of such a date is compared as ever.
    loaded.made.write_gold(FIRST_DAY, "orders", lambda rows: rows[:1])
    assert {problem.kind.value for problem in loaded.look().problems} == {"phantom"}


def test_a_value_that_changed_in_gold_after_the_load_differs_and_no_warehouse_is_not_checked(loaded):
    def dearer(rows):
        return [{**rows[0], "net_revenue": rows[0]["net_revenue"] + Decimal("0.01")}, *rows[1:]]

    loaded.made.write_gold(FIRST_DAY, "orders", dearer)
    city = loaded.made.gold_rows(FIRST_DAY, "orders")[0]["city"]
    kind, count, where = loaded.problem()
    assert (kind, count) == ("differs", 1)
    assert where.startswith(f"order_date={FIRST_DAY} city={city} currency=EUR (net_revenue: ")

    report = loaded.look(settings=loaded.settings.model_copy(update={"snowflake_port": 1}))
    assert (report.clean, report.exit_code, report.problems) == (False, 2, ())
    assert "refused the login" in report.not_checked[0].not_checked


def test_a_warehouse_that_an_empty_lake_does_not_explain_is_not_green(loaded, tmp_path):
    elsewhere = loaded.settings.model_copy(update={"lake_uri": str(tmp_path / "elsewhere")})
    report = audit(elsewhere, Catalog([loaded.made.domain]), Lake(elsewhere), stages={Stage.WAREHOUSE})
    assert (report.exit_code, {problem.kind.value for problem in report.problems}) == (1, {"phantom"})


def test_the_login_of_the_settings_is_used_and_a_trace_ends_in_the_warehouse(loaded):
    made, order = loaded.made, loaded.made.silver_rows(FIRST_DAY)[0]
    catalog = Catalog([made.domain])
    [found] = trace(loaded.settings, catalog, made.lake, made.meta, str(order["order_id"]), day=FIRST_DAY)
    [layer] = [each for each in found.layers if each.layer == "warehouse"]
    assert {row["table"]: row["order_date"] for row in layer.rows} == {
        "orders": FIRST_DAY,
        "orders_by_restaurant": FIRST_DAY,
    }
    assert layer.rows[0]["city"] == order["city"]
    nobody = loaded.settings.model_copy(update={"snowflake_password": None})
    [missing] = loaded.look(settings=nobody).not_checked
    assert "SNOWFLAKE_PASSWORD" in missing.not_checked
