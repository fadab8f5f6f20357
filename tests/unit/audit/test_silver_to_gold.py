"""Bronze → Silver → Gold on a small lake: clean histories raise no alarm, and what was planted is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.dates import why, without_values
from audit.report import AuditReport, Reason, Stage
from audit.run import audit
from platform_core.lake.lake import Lake
from platform_core.partitions.date_range import DateRange
from platform_core.partitions.partition_meta import Change
from platform_core.partitions.partition_state import Event, State
from platform_core.settings import Settings
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake

NEXT_DAY = FIRST_DAY + timedelta(days=1)
LAKE_STAGES = {Stage.SILVER, Stage.GOLD}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(lake_uri=str(tmp_path / "lake"))


def look(made: AuditLake, **arguments) -> AuditReport:
    arguments = {"domains": ["orders"], "stages": LAKE_STAGES, **arguments}
    return audit(made.settings, made.catalog, made.lake, **arguments)


def problem(report: AuditReport) -> tuple[str, str, int, str]:
    [found] = report.problems
    assert found.day == FIRST_DAY
    return found.stage.value, found.kind.value, found.count, found.where


@pytest.mark.parametrize("seed", range(8))
def test_a_random_clean_history_raises_no_alarm(settings, seed):
    made = AuditLake(settings, seed).make(days=2, orders=20)
    # Late files make the first date LATE; a run takes them in; others arrive while nobody has looked yet.
    for processed in (True, False):
        late = made.history(FIRST_DAY, 3, first_id=500 + 10 * processed)
        names = made.write_bronze(FIRST_DAY, late, files=1)
        if processed:
            made.copies[FIRST_DAY] = []
            made.write_tables(FIRST_DAY)
            made.done(FIRST_DAY, [*made.meta.get("orders", FIRST_DAY).source_files, *names])
        else:
            made.records[FIRST_DAY] = [record for record in made.records[FIRST_DAY] if record not in late]
    third = FIRST_DAY + timedelta(days=2)
    made.write_bronze(third, made.history(third, 5))
    report = look(made)
    assert report.clean, report.problems
    [silver] = [result for result in report.summary() if result.stage is Stage.SILVER]
    assert silver.equations[0].adds_up
    waiting = len(late) + len(made.records[third])
    assert silver.explained[Reason.NOT_PROCESSED_YET] == waiting
    bad = sum(record.is_bad for day in (FIRST_DAY, NEXT_DAY) for record in made.records[day])
    assert silver.explained[Reason.QUARANTINED] == bad
    assert silver.equations[0].parts["silver"] == sum(len(made.silver_rows(d)) for d in (FIRST_DAY, NEXT_DAY))


def test_a_key_that_silver_lost_is_named_with_its_offset(settings):
    made = AuditLake(settings).make()
    lost = made.silver_rows(FIRST_DAY)[3]
    made.write_silver(FIRST_DAY, lambda rows: [row for row in rows if row["order_id"] != lost["order_id"]])
    where = f"raw-orders:{lost['_partition']}:{lost['_offset']}, order_id={lost['order_id']}"
    assert problem(look(made, stages={Stage.SILVER})) == ("silver", "missing_in_silver", 1, where)
    assert look(made, dates=DateRange(first=NEXT_DAY)).clean


def test_a_silent_filter_is_found_in_silver_and_in_gold(settings):
    made = AuditLake(settings).make()
    made.write_silver(FIRST_DAY, lambda rows: [row for row in rows if row["city"] != "Oslo"])
    missing = [row for row in made.silver_rows(FIRST_DAY) if row["city"] == "Oslo"]
    kinds = {(found.stage.value, found.kind.value): found for found in look(made).problems}
    assert set(kinds) == {("silver", "missing_in_silver"), ("gold", "differs")}
    assert kinds["silver", "missing_in_silver"].count == len(missing)
    assert "city=Oslo" in kinds["gold", "differs"].where or "restaurant_id" in kinds["gold", "differs"].where


def test_a_key_twice_in_silver_a_phantom_and_an_old_version_are_told_apart(settings):
    made = AuditLake(settings).make()
    rows = made.silver_rows(FIRST_DAY)
    made.write_silver(FIRST_DAY, lambda rows: [*rows, rows[0]])
    assert problem(look(made, stages={Stage.SILVER}))[1:3] == ("duplicate", 1)

    made.write_silver(FIRST_DAY, lambda rows: [*rows, {**rows[0], "order_id": 77_777}])
    assert problem(look(made, stages={Stage.SILVER}))[1:] == (
        "phantom",
        1,
        f"raw-orders:{rows[0]['_partition']}:{rows[0]['_offset']}, order_id=77777",
    )

    good = [record for record in made.records[FIRST_DAY] if not record.is_bad]
    kept = {(row["order_id"], row["_offset"]) for row in rows}
    old = next(record for record in good if (record.order_id, record.offset) not in kept)
    made.write_silver(
        FIRST_DAY,
        lambda rows: [
            {**row, "_offset": old.offset, "updated_at": old.updated_at} if row["order_id"] == old.order_id else row
            for row in rows
        ],
    )
    kind, count, where = problem(look(made, stages={Stage.SILVER}))[1:]
    assert (kind, count, where) == (
        "wrong_version",
        1,
        f"raw-orders:{old.partition}:{old.offset}, order_id={old.order_id}",
    )


def test_a_quarantine_that_loses_doubles_or_invents_rows_is_found(settings):
    made = AuditLake(settings, seed=3).make(orders=60)
    alone = [r for r in made.records[FIRST_DAY] if r.is_bad]
    only_bad = next(r for r in alone if all(o.is_bad for o in made.records[FIRST_DAY] if o.order_id == r.order_id))
    made.write_quarantine(FIRST_DAY, lambda rows: [row for row in rows if row["offset"] != only_bad.offset])
    kinds = {found.kind.value for found in look(made, stages={Stage.SILVER}).problems}
    assert kinds == {"missing_in_silver"}

    made.write_quarantine(FIRST_DAY, lambda rows: [*rows, rows[0]])
    assert problem(look(made, stages={Stage.SILVER}))[1:3] == ("duplicate", 1)

    made.write_quarantine(FIRST_DAY, lambda rows: [*rows, {**rows[0], "offset": 99_999}])
    assert problem(look(made, stages={Stage.SILVER}))[1:3] == ("phantom", 1)


def test_a_group_that_gold_lost_doubled_or_summed_wrongly_is_named(settings):
    made = AuditLake(settings).make()
    made.write_gold(FIRST_DAY, "orders", lambda rows: [row for row in rows if row["city"] != "Rome"])
    found = look(made).problems
    assert {(p.stage.value, p.kind.value) for p in found} == {("gold", "differs")}
    assert all(p.where.startswith("city=Rome") for p in found)
    assert "table `orders`: sum(orders) is" in found[0].detail

    made.write_gold(FIRST_DAY, "orders", lambda rows: [*rows, rows[0]])
    city = made.gold_rows(FIRST_DAY, "orders")[0]["city"]
    kinds = {p.kind.value: p for p in look(made).problems}
    assert set(kinds) == {"duplicate", "differs"}
    assert kinds["duplicate"].where == f"order_date={FIRST_DAY} city={city} currency=EUR"

    made.write_gold(FIRST_DAY, "orders")
    made.write_gold(
        FIRST_DAY,
        "orders_by_restaurant",
        lambda rows: [{**row, "net_revenue": row["net_revenue"] + Decimal("0.01")} for row in rows[:1]] + rows[1:],
    )
    assert problem(look(made))[:3] == ("gold", "differs", 1)


def test_a_bronze_file_that_vanished_is_named_and_a_date_in_flight_is_not_judged(settings, tmp_path):
    made = AuditLake(settings).make()
    gone = made.meta.get("orders", FIRST_DAY).source_files[0]
    path = tmp_path / "lake" / gone
    kept = path.read_bytes()
    path.unlink()
    kinds = {found.kind.value: found.where for found in look(made, stages={Stage.SILVER}).problems}
    assert kinds["file_missing"] == gone
    assert "phantom" not in kinds
    path.write_bytes(kept)

    made.write_silver(FIRST_DAY, lambda rows: rows[1:])
    changes = [
        Change("orders", FIRST_DAY, State.DONE, Event.FILES_CHANGED),
        Change("orders", FIRST_DAY, State.LATE, Event.QUEUED),
        Change("orders", FIRST_DAY, State.REPROCESSING, Event.RUN_STARTED, run_id="other"),
    ]
    made.meta.apply(changes)
    report = look(made)
    assert report.clean
    [first, _] = report.of(Stage.SILVER, "orders")
    assert first.equations[0].parts == {Reason.NOT_PROCESSED_YET: first.equations[0].count}


def test_a_date_that_changes_its_state_during_a_look_is_looked_at_again(settings, monkeypatch):
    from audit.stages import bronze_to_silver

    made = AuditLake(settings).make(days=1)
    real, looks = bronze_to_silver.compare, []

    def compare(*arguments, **options):
        looks.append(arguments)
        if len(looks) == 1:
            made.write_silver(FIRST_DAY, lambda rows: rows[1:])
            result = real(*arguments, **options)
            made.write_silver(FIRST_DAY)
            made.done(FIRST_DAY, made.meta.get("orders", FIRST_DAY).source_files)
            return result
        return real(*arguments, **options)

    monkeypatch.setattr(bronze_to_silver, "compare", compare)
    assert look(made, stages={Stage.SILVER}).clean
    assert len(looks) == 2


def test_the_same_key_on_two_dates_is_two_rows_and_counted(settings):
    made = AuditLake(settings).make()
    made.records[NEXT_DAY] += [replace(record, day=NEXT_DAY) for record in made.records[FIRST_DAY][:1]]
    names = made.write_bronze(NEXT_DAY, made.records[NEXT_DAY][-1:], files=1)
    made.write_tables(NEXT_DAY)
    made.done(NEXT_DAY, [*made.meta.get("orders", NEXT_DAY).source_files, *names])
    report = look(made)
    assert report.clean, report.problems
    twice = {row["order_id"] for row in made.silver_rows(FIRST_DAY)} & {
        row["order_id"] for row in made.silver_rows(NEXT_DAY)
    }
    assert report.summary()[0].explained[Reason.ON_SEVERAL_DATES] == len(twice) == 1
    assert look(made, dates=DateRange(NEXT_DAY, NEXT_DAY)).summary()[0].explained[Reason.ON_SEVERAL_DATES] == 0


def test_an_audit_that_looked_at_nothing_is_not_green_and_says_what_it_looked_at(settings, tmp_path):
    made = AuditLake(settings).make()
    never = DateRange(date(2020, 1, 1), date(2020, 1, 1))
    nothing = look(made, dates=never)
    assert (nothing.clean, nothing.exit_code, nothing.scope) == (False, 2, "nothing")
    assert "none of these dates" in nothing.not_checked[0].not_checked

    elsewhere = Settings(lake_uri=str(tmp_path / "nonexistent"))
    report = audit(elsewhere, made.catalog, Lake(elsewhere), domains=["orders"], stages=LAKE_STAGES)
    assert report.exit_code == 2
    assert {str(tmp_path / "nonexistent") in each.not_checked for each in report.not_checked} == {True}
    assert len(report.not_checked) == len(LAKE_STAGES)
    no_source = audit(settings, made.catalog, made.lake, domains=["events"], stages={Stage.SOURCE})
    assert (no_source.results, no_source.clean, no_source.exit_code) == ((), False, 2)

    clean = look(made)
    assert (clean.exit_code, clean.scope) == (
        0,
        f"orders; bronze → silver, silver → gold, 2 dates from {FIRST_DAY} to {NEXT_DAY}",
    )


def test_a_foreign_a_damaged_and_a_waiting_file_are_named_and_blind_nothing_else(settings):
    made = AuditLake(settings).make()
    folder = Path(made.lake.path(made.lake.bronze_partition(made.domain, FIRST_DAY)))
    foreign, damaged, waiting = (folder / f"{name}.parquet" for name in ("foreign", "damaged", "waiting"))
    pq.write_table(pa.table({"order_id": [1.5, 2.5], "name": ["a", "b"]}), foreign)
    damaged.write_bytes(b"PAR1 nonsense PAR1")
    waiting.write_bytes(b"")
    known = made.meta.get("orders", FIRST_DAY).source_files
    made.done(FIRST_DAY, [*known, *(f"{known[0].rpartition('/')[0]}/{path.name}" for path in (foreign, damaged))])
    report = look(made, stages={Stage.SILVER})
    [problem] = report.problems
    assert (problem.kind.value, problem.count, problem.day) == ("unreadable_file", 3, FIRST_DAY)
    assert [key.rpartition("/")[2] for key in problem.keys] == ["damaged.parquet", "foreign.parquet", "waiting.parquet"]
    assert report.not_checked == ()

    made.write_silver(FIRST_DAY, lambda rows: rows[1:])
    kinds = [problem.kind.value for problem in look(made, stages={Stage.SILVER}).problems]
    assert kinds == ["unreadable_file", "missing_in_silver"]


def test_an_outage_is_told_from_data_that_cannot_be_compared():
    outage = why(OSError("connection refused"))
    assert "did not answer" in outage and "LAKE_URI" in outage
    for error in (pa.ArrowInvalid("not a valid decimal"), duckdb.ConversionException("x"), OverflowError("year 12345")):
        text = why(error)
        assert "no outage" in text and "LAKE_URI" not in text


def test_an_engines_error_keeps_no_value():
    error = ValueError("Could not convert string 'ada.roe@example.com' to INT64\nat row \"ada\"")
    assert without_values(error) == "Could not convert string '…' to INT64"
    assert without_values(OSError()) == "OSError"
