"""Source → Silver, with a real Postgres: rows that were not polled are explained, lost ones are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from audit.report import AuditReport, Kind, Reason, Stage
from audit.run import audit
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.postgres import Postgres
from platform_core.domain.catalog import Catalog
from platform_core.partitions.date_range import DateRange
from platform_core.settings import Settings
from tests.rigs.lake import bronze_days
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake
from tests.rigs.lake.bronze_days import Record
from tests.rigs.settings_of import settings_of

LATER = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Shop:
    """A lake of two dates, and the orders that they came from."""

    def __init__(self, postgres: Postgres, kafka: Kafka, folder: Path) -> None:
        env = {**postgres.env(), **kafka.env(), "LAKE_URI": str(folder / "lake"), "STATE_DIR": str(folder / "state")}
        self.settings = settings_of(env)
        self.made = AuditLake(self.settings).make()
        self.connection = psycopg2.connect(self.settings.postgres_dsn.get_secret_value())
        self.connection.autocommit = True
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        self.sql(
            "CREATE TABLE orders (order_id bigint, created_at timestamptz, updated_at timestamptz, total numeric,"
            " deleted_at timestamptz)"
        )
        self.sql("CREATE TABLE orders_tombstones (order_id bigint, created_at timestamptz, updated_at timestamptz)")
        for day, records in self.made.records.items():
            kept = {row["order_id"]: row for row in self.made.silver_rows(day)}
            for record in records:  # a refused latest version is what the source has
                row = {**kept.get(record.order_id, {}), **self.made._values(record)}
                known = kept.get(record.order_id)
                if record.is_bad and (known is None or record.updated_at > known["updated_at"]):
                    kept[record.order_id] = row
            for row in kept.values():
                names = ("order_id", "created_at", "updated_at", "total")
                self.sql("INSERT INTO orders VALUES (%s, %s, %s, %s)", *(row[name] for name in names))
        self.polled(LATER)

    def sql(self, statement: str, *values: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def polled(self, low: datetime) -> None:
        path = self.settings.state_dir / "orders.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"low": low.isoformat(), "polls": [], "sent": []}))

    def look(self, **change: object) -> AuditReport:
        settings = self.settings.model_copy(update=change)
        dates = DateRange(FIRST_DAY, FIRST_DAY + timedelta(days=1))
        return audit(
            settings, self.made.catalog, self.made.lake, domains=["orders"], dates=dates, stages={Stage.SOURCE}
        )


@pytest.fixture
def shop(postgres: Postgres, kafka: Kafka, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(postgres, kafka, tmp_path)
    yield shop
    shop.sql("DROP TABLE orders, orders_tombstones")
    shop.connection.close()


def test_a_row_is_silver_not_polled_not_processed_or_missing_by_name(shop):
    report = shop.look()
    assert report.clean, report.problems

    # After the watermark: changed in place, and new.
    silver = shop.made.silver_rows(FIRST_DAY)
    changed = silver[0]["order_id"]
    shop.sql("UPDATE orders SET updated_at = %s, total = 1 WHERE order_id = %s", LATER + timedelta(hours=1), changed)
    created = silver[0]["created_at"]
    shop.sql("INSERT INTO orders VALUES (9001, %s, %s, 1)", created, LATER + timedelta(seconds=1))
    report = shop.look()
    assert report.clean, report.problems
    assert report.summary()[0].explained[Reason.NOT_POLLED_YET] == 2

    # The producer has polled both, and nothing of them ever arrived.
    shop.polled(LATER + timedelta(hours=2))
    [problem] = shop.look().problems
    assert (problem.kind.value, problem.count, problem.day) == ("missing", 2, FIRST_DAY)
    assert {key.split()[0] for key in problem.keys} == {str(changed), "9001"}

    # One of them is in a file that no run has seen.
    record = shop.made.records[FIRST_DAY][0]
    from dataclasses import replace

    late = replace(record, order_id=9001, updated_at=LATER + timedelta(seconds=1), offset=80_000)
    shop.made.write_bronze(FIRST_DAY, [late], files=1)
    report = shop.look()
    assert report.summary()[0].explained[Reason.NOT_PROCESSED_YET] == 1
    assert [problem.count for problem in report.problems] == [1]


def test_other_values_and_rows_that_the_source_does_not_have_are_problems(shop):
    one, other, *_ = (row["order_id"] for row in shop.made.silver_rows(FIRST_DAY))
    shop.sql("UPDATE orders SET total = total + 0.01 WHERE order_id = %s", one)
    shop.sql("DELETE FROM orders WHERE order_id = %s", other)
    found = {problem.kind.value: problem.where for problem in shop.look().problems}
    assert found == {"differs": str(one), "phantom": str(other)}


def test_a_row_deleted_at_the_source_is_on_its_way_as_its_tombstone(shop):
    gone = shop.made.silver_rows(FIRST_DAY)[0]["order_id"]
    of_another_date = f"INSERT INTO orders_tombstones VALUES (%s, '{FIRST_DAY - timedelta(days=1)} 12:00Z', %s)"
    shop.sql(of_another_date, gone, LATER + timedelta(hours=3))
    shop.sql(f"INSERT INTO orders_tombstones VALUES (%s, '{FIRST_DAY} 12:00Z', %s)", gone, LATER + timedelta(hours=1))
    shop.sql("DELETE FROM orders WHERE order_id = %s", gone)
    report = shop.look()
    assert report.clean, report.problems
    assert report.summary()[0].explained[Reason.NOT_POLLED_YET] == 1
    shop.polled(LATER + timedelta(hours=2))
    assert [(p.kind.value, p.keys[0].split()[0]) for p in shop.look().problems] == [("missing", str(gone))]


def test_a_row_that_no_layer_can_hold_hides_no_other(shop):
    """NaN and infinity pass the checks of a table; the record of such a row is a dead letter, its date is audited."""
    nan, endless, dearer, *_ = (row["order_id"] for row in shop.made.silver_rows(FIRST_DAY))
    shop.sql("UPDATE orders SET total = 'NaN' WHERE order_id = %s", nan)
    shop.sql("UPDATE orders SET deleted_at = 'infinity' WHERE order_id = %s", endless)
    shop.sql("UPDATE orders SET total = total + 1 WHERE order_id = %s", dearer)
    shop.sql("INSERT INTO orders VALUES (9002, %s, '12345-06-01', 1)", f"{FIRST_DAY} 12:00Z")
    report = shop.look()
    found = {(problem.kind.value, problem.detail): set(problem.keys) for problem in report.problems}
    assert found == {
        ("missing", "in the source, polled, and neither in Silver nor on its way"): {"9002 (version None)"},
        ("differs", "the same version has other values in Silver"): {str(endless), str(dearer)},
        ("differs", "a value at the source that no layer can hold: NaN, infinity, a year before 1"): {str(nan)},
    }
    assert report.not_checked == ()


def test_a_table_of_tombstones_that_is_declared_and_missing_is_no_absence_of_tombstones(shop):
    gone = shop.made.silver_rows(FIRST_DAY)[0]["order_id"]
    shop.sql("DELETE FROM orders WHERE order_id = %s", gone)
    shop.sql("ALTER TABLE orders_tombstones RENAME TO elsewhere")
    report = shop.look()
    assert (report.exit_code, report.problems) == (2, ())
    assert "orders_tombstones" in report.not_checked[0].not_checked
    shop.sql("ALTER TABLE elsewhere RENAME TO orders_tombstones")


def test_the_advice_for_a_row_that_moved_or_vanished_leads_out(shop):
    moved, gone, *_ = shop.made.silver_rows(FIRST_DAY)
    shop.sql("UPDATE orders SET created_at = created_at - interval '1 day' WHERE order_id = %s", moved["order_id"])
    shop.sql("DELETE FROM orders WHERE order_id = %s", gone["order_id"])
    problems = [problem for problem in shop.look().problems if problem.day == FIRST_DAY]
    assert {(problem.kind.value, problem.detail, problem.keys[0].split()[0]) for problem in problems} == {
        ("phantom", "the source has the row on another date now", str(moved["order_id"])),
        ("phantom", "in Silver, neither in the source nor among its tombstones", str(gone["order_id"])),
    }
    for problem in problems:
        assert "tombstones" in problem.next_step and "partitions reset" not in problem.next_step
    # What the advice says is what ends the problem.
    row = f"(%s, '{FIRST_DAY} 12:00Z', clock_timestamp())"
    shop.sql(f"INSERT INTO orders_tombstones VALUES {row}, {row}", moved["order_id"], gone["order_id"])
    assert [problem for problem in shop.look().problems if problem.kind is Kind.PHANTOM] == []


def test_a_row_of_a_global_key_that_moved_or_was_deleted_after_it_is_the_other_dates_business(shop):
    orders = shop.made.domain
    declared = orders.model_copy(update={"silver": orders.silver.model_copy(update={"global_key": True})})
    shop.made.catalog = Catalog([declared])
    moved, deleted, *_ = (row["order_id"] for row in shop.made.silver_rows(FIRST_DAY))
    shop.sql("UPDATE orders SET created_at = created_at - interval '1 day' WHERE order_id = %s", moved)
    shop.sql("DELETE FROM orders WHERE order_id = %s", deleted)
    of_another_date = f"(%s, '{FIRST_DAY - timedelta(days=1)} 12:00Z', clock_timestamp())"
    shop.sql(f"INSERT INTO orders_tombstones VALUES {of_another_date}", deleted)
    shop.polled(datetime.now(UTC) + timedelta(hours=1))
    report = shop.look()
    assert report.clean, report.problems
    assert report.summary()[0].explained[Reason.MOVED] == 2


def test_a_source_that_is_extracted_once_a_day_is_audited_as_a_whole(shop):
    lake, users = shop.made.lake, shop.made.catalog["users"]
    shop.sql("CREATE TABLE users (user_id bigint, updated_at timestamptz, deleted_at timestamptz)")
    shop.sql("CREATE TABLE users_tombstones (user_id bigint, updated_at timestamptz)")
    shop.sql("INSERT INTO users SELECT n, %s + n * interval '1 minute' FROM generate_series(1, 5) n", LATER)

    def version(user: int, days: int, minutes: int) -> dict[str, object]:
        day = LATER.date() + timedelta(days=days)
        stamps = dict.fromkeys(("updated_at", "extracted_at"), LATER + timedelta(minutes=minutes))
        return {"user_id": user, **stamps, "deleted_at": None, "snapshot_date": day}

    shop.sql("INSERT INTO users VALUES (7, %s)", LATER - timedelta(days=400))
    # User 7 changed before anything was extracted; of a young platform Bronze tells.
    position = {"low": (LATER + timedelta(minutes=4)).isoformat(), "polls": [], "sent": []}
    (shop.settings.state_dir / "users.json").write_text(json.dumps({"extracted_at": None, "position": position}))
    bronze_days.write(lake, users, LATER.date(), [Record(version(n, 0, n), offset=n) for n in range(1, 5)], files=1)
    young = audit(shop.settings, shop.made.catalog, lake, domains=["users"], stages={Stage.SOURCE})
    assert str(young.results[0].equations[0]) == (
        "source rows 6 = before_first_poll 1 + not_polled_yet 1 + not_processed_yet 4"
    )
    note = Path(lake.path(lake.bronze_partition(users, LATER.date()))) / lake.compaction_note
    note.write_text("{")
    unclear = audit(shop.settings, shop.made.catalog, lake, domains=["users"], stages={Stage.SOURCE})
    assert str(note) in unclear.not_checked[0].not_checked, "its files may have what is nowhere else"
    bronze_days.write(lake, users, LATER.date() + timedelta(days=1), [Record(version(n, 1, n)) for n in range(1, 5)])
    elsewhere = audit(shop.settings, shop.made.catalog, lake, domains=["users"], stages={Stage.SOURCE})
    assert elsewhere.results == young.results, "which of its files count changes nothing of what was extracted first"
    shutil.rmtree(lake.path(lake.bronze(users)))
    # User 2 has an older version on an older date, 3 only that, 4 none, 5 was not polled, 6 is not in the source.
    rows = [version(1, 0, 1), version(2, -1, 0), version(2, 0, 2), version(3, -1, 0), version(6, 0, 0)]
    time = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [("user_id", pa.int64()), *((name, time) for name in ("updated_at", "extracted_at", "deleted_at"))]
    ).append(pa.field("snapshot_date", pa.date32()))
    write_deltalake(lake.uri(lake.silver(users)), pa.Table.from_pylist(rows, schema), partition_by=["snapshot_date"])
    try:
        report = audit(shop.settings, shop.made.catalog, lake, domains=["users"], stages={Stage.SOURCE})
        assert {(problem.kind.value, problem.day): problem.count for problem in report.problems} == {
            ("missing", None): 2,
            ("phantom", None): 1,
        }
        assert [key.split()[0] for key in report.problems[0].keys] == ["3", "4"]
        assert str(report.results[0].equations[0]) == (
            "source rows 6 = silver 2 + before_first_poll 1 + not_polled_yet 1 + missing 2"
        )
    finally:
        shop.sql("DROP TABLE users, users_tombstones")


def test_without_postgres_or_a_watermark_the_stage_is_not_checked(shop):
    report = shop.look(postgres_dsn=Settings(postgres_dsn="postgresql://shop@127.0.0.1:1/shop").postgres_dsn)
    assert (report.exit_code, len(report.not_checked)) == (2, 1)
    assert "2 dates from 2026-11-20" in report.not_checked[0].not_checked
    shop.sql("UPDATE orders SET updated_at = updated_at + interval '1 day' WHERE created_at < %s", LATER)
    (shop.settings.state_dir / "orders.json").unlink()
    report = shop.look()
    assert report.problems == ()
    assert "STATE_DIR" in report.not_checked[0].not_checked
