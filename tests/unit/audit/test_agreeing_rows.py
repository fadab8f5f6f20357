"""What is set aside before the rows of a date are explained changes no finding and no count, whatever is broken."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from audit.bronze_of_date import BronzeOfDate
from audit.duckdb_tables import one
from audit.report import Kind, StageResult
from audit.stages import agreeing_rows, bronze_to_silver
from platform_core.domain.catalog import Domain, load_catalog
from platform_core.lake.duckdb_memory import database
from platform_core.lake.lake import Lake
from platform_core.settings import Settings
from tests.rigs.lake.bronze_days import DAY

TOPIC = "raw-orders"
TIME = pa.timestamp("us", "UTC")
ORIGIN = [("_topic", pa.string()), ("_partition", pa.int32()), ("_offset", pa.int64()), ("_kafka_timestamp", TIME)]
BRONZE = pa.schema([("order_id", pa.int64()), ("updated_at", TIME), *ORIGIN])
SILVER = pa.schema([("order_id", pa.int64()), *ORIGIN])
QUARANTINE = pa.schema(
    [("rule", pa.string()), *((name.lstrip("_"), kind) for name, kind in ORIGIN), ("record_hash", pa.string())]
)
REFUSED = 'topic varchar, "partition" int, "offset" bigint, kafka_timestamp bigint'
Row = dict[str, Any]


class BrokenDate:
    """A date of a few orders of a recreated topic as it should be, and then with some rows more, less or changed.

    Args:
        seed: Decides all of it.
        damages: How many rows of any table are broken.
    """

    def __init__(self, seed: int, damages: int) -> None:
        self._chance = chance = random.Random(seed)
        places = chance.sample(list(product(range(2), range(15), range(2))), k=40)
        self.bronze: list[Row] = [
            {"order_id": chance.choice((*range(25), None)), "updated_at": chance.randrange(3), **self._at(*place)}
            for place in places
        ]
        bad = [row for row in self.bronze if chance.random() < 0.15]
        self.quarantine: list[Row] = [
            self._refused(row, chance.choice(("known_status", "version_not_ahead"))) for row in bad
        ]
        versions = [
            row
            for row, refused in zip(self.bronze, map(self._rule, self.bronze), strict=True)
            if refused != "version_not_ahead"
        ]
        latest: dict[int | None, Row] = {}
        for row in versions:
            known = latest.get(row["order_id"])
            if known is None or self._order(known) < self._order(row):
                latest[row["order_id"]] = row
        self.silver: list[Row] = [
            {name: row[name] for name in SILVER.names} for row in latest.values() if not self._rule(row)
        ]
        self.bronze += chance.sample(self.bronze, k=chance.randrange(3))  # delivered again
        for _ in range(damages):
            self._break(chance.choice((self.bronze, self.silver, self.silver, self.quarantine)))

    def _at(self, partition: int, offset: int, sent_at: int) -> Row:
        return {"_topic": TOPIC, "_partition": partition, "_offset": offset, "_kafka_timestamp": sent_at}

    def _refused(self, row: Row, rule: str) -> Row:
        place = {name.lstrip("_"): row[name] for name, _ in ORIGIN}
        return {"rule": rule, **place, "record_hash": str(place)}

    def _rule(self, row: Row) -> str:
        place = [(name.lstrip("_"), row[name]) for name, _ in ORIGIN]
        found = [q["rule"] for q in self.quarantine if all(q[name] == value for name, value in place)]
        return found[0] if found else ""

    def _order(self, row: Row) -> tuple[int, ...]:
        return row["updated_at"], row["_offset"], row["_partition"], row["_kafka_timestamp"]

    def _break(self, table: list[Row]) -> None:
        if not table:
            return
        chance, row = self._chance, self._chance.randrange(len(table))
        match chance.choice(("gone", "twice", "refused", "changed", "changed")):
            case "gone":
                del table[row]
            case "twice":
                table.append(table[row])
            case "refused":
                self.quarantine.append(self._refused(chance.choice(self.bronze), "known_status"))
            case _:
                name = chance.choice([name for name in table[row] if name not in {"updated_at", "rule", "record_hash"}])
                other: Any = "raw-other" if "topic" in name else chance.randrange(15 if "offset" in name else 3)
                # Bronze's own reading sees to it that its rows have a place in Kafka.
                if chance.random() < 0.2 and (table is not self.bronze or name == "order_id"):
                    other = None
                table[row] = {**table[row], name: other}

    def compared(self, lake: Lake, domain: Domain, monkeypatch: pytest.MonkeyPatch) -> StageResult:
        tables = {
            "bronze": pa.Table.from_pylist(self.bronze, BRONZE),
            "silver": pa.Table.from_pylist(self.silver, SILVER),
            "quarantine": pa.Table.from_pylist(self.quarantine, QUARANTINE),
        }
        return compared(tables, lake, domain, monkeypatch)


def compared(
    tables: Mapping[str, pa.Table], lake: Lake, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> StageResult:
    """Compare tables in place of the lake's."""

    def load(connection: duckdb.DuckDBPyConnection, table: str, *_: Any) -> None:
        connection.register("_source", tables[table])
        connection.execute(f"create temp table {table} as from _source")

    monkeypatch.setattr(bronze_to_silver, "load_delta", load)
    with database() as connection:
        load(connection, "bronze")
        return in_order(bronze_to_silver.compare_with(BronzeOfDate(connection, lake, domain, DAY, (), (), (), {})))


def in_order(result: StageResult) -> StageResult:
    """Sort what is named of a problem: of two rows at one place either may come first."""
    return replace(result, problems=tuple(replace(each, keys=tuple(sorted(each.keys))) for each in result.problems))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    class OfNoTable(Lake):
        def delta_or_none(self, name: str) -> None:
            return None

    return OfNoTable(Settings(lake_uri=str(tmp_path / "lake")))


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Domain:
    monkeypatch.setattr(bronze_to_silver, "MAX_NAMED", 99)
    return load_catalog(Settings().domains_file)["orders"]


@pytest.mark.parametrize("damages", [0, 2, 9])
def test_the_findings_of_a_date_are_those_of_all_of_its_rows(
    lake: Lake, orders: Domain, monkeypatch: pytest.MonkeyPatch, damages: int
) -> None:
    agreeing, found = 0, set[Kind]()

    def counted(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> int:
        nonlocal agreeing
        agreeing += (rows := agreeing_rows.set_aside(connection, keys))
        return rows

    def none(connection: duckdb.DuckDBPyConnection, _: Sequence[str]) -> int:
        agreeing_rows.leave_open(connection)
        return 0

    for seed in range(5):
        broken = BrokenDate(seed, damages)
        monkeypatch.setattr(bronze_to_silver, "set_aside", counted)
        of_open_rows = broken.compared(lake, orders, monkeypatch)
        monkeypatch.setattr(bronze_to_silver, "set_aside", none)
        of_all_rows = broken.compared(lake, orders, monkeypatch)
        assert of_open_rows == of_all_rows, f"seed {seed}"
        found |= {problem.kind for problem in of_all_rows.problems}
    assert agreeing > 0
    assert bool(found) == bool(damages)


def test_keys_of_two_types_are_all_explained_one_by_one() -> None:
    with database() as connection:
        for table, kind in (("bronze", "int"), ("silver", "bigint")):
            connection.execute(
                f"create table {table} as select 7::{kind} as k, 't' as _topic, 0 as _partition, 1 as _offset,"
                " 0 as _kafka_timestamp"
            )
        connection.execute(f"create table quarantine ({REFUSED})")
        assert agreeing_rows.set_aside(connection, ["k"]) == 0
        assert one(connection, "select (select count(*) from open_bronze), (select count(*) from open_silver)") == (
            1,
            1,
        )


@pytest.mark.parametrize("name", ["rowid", "is_linked", "rank", "copies", "is_refused", "is_no_version", "is_builtin"])
def test_a_column_of_a_key_may_have_any_name_that_a_contract_may_give_it(
    lake: Lake, orders: Domain, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    keys = {"primary_key": (name, "id"), "order_by": ()}
    domain = orders.model_copy(update={"silver": orders.silver.model_copy(update=keys)})
    schema = pa.schema([(name, pa.int64()), ("id", pa.int64()), *ORIGIN])
    monkeypatch.setattr(bronze_to_silver, "bronze_schema", lambda _: schema)

    def rows(*some: tuple[int | None, int]) -> pa.Table:
        return pa.table([*zip(*((a, b, TOPIC, 0, b, None) for a, b in some), strict=True)], schema=schema)

    tables = {
        "bronze": rows((None, 1), (2, 2), (3, 3)),
        "silver": rows((3, 3), (5, 5)),
        "quarantine": QUARANTINE.empty_table(),
    }
    result = compared(tables, lake, domain, monkeypatch)
    assert {problem.kind: (problem.count, problem.keys) for problem in result.problems} == {
        Kind.MISSING_IN_SILVER: (2, (f"{name}=2 id=2", f"{name}=None id=1")),
        Kind.PHANTOM: (1, (f"{name}=5 id=5",)),
    }
    assert result.equations[0].parts["silver"] == 1


def test_rows_of_bronze_that_are_set_aside_without_rows_of_silver_are_no_clean_date(
    lake: Lake, orders: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hide_bronze(connection: duckdb.DuckDBPyConnection, _: Sequence[str]) -> int:
        connection.execute("create temp view open_bronze as from bronze limit 0")
        connection.execute("create temp view open_silver as from silver")
        return 0

    lost = BrokenDate(0, 0)
    lost.silver, lost.quarantine = [], []
    monkeypatch.setattr(bronze_to_silver, "set_aside", hide_bronze)
    result = lost.compared(lake, orders, monkeypatch)
    assert not result.problems
    assert not result.ok


def test_a_row_is_not_explained_by_what_an_earlier_topic_of_the_name_had_at_its_place(
    lake: Lake, orders: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(order_id: int, offset: int, sent_at: int) -> Row:
        place = {"_topic": TOPIC, "_partition": 0, "_offset": offset, "_kafka_timestamp": sent_at}
        return {"order_id": order_id, "updated_at": 0, **place}

    date = BrokenDate(0, 0)
    lost, refused, kept = row(1, 5, 1), row(2, 5, 0), row(3, 6, 1)
    outdated, latest = row(4, 7, 0), row(4, 7, 1)
    date.bronze = [lost, refused, kept, row(5, 6, 0), outdated, latest]
    date.quarantine = [date._refused(each, "known_status") for each in (refused, date.bronze[3])]
    date.silver = [{name: each[name] for name in SILVER.names} for each in (kept, latest)]
    result = date.compared(lake, orders, monkeypatch)
    assert [(each.kind, each.keys) for each in result.problems] == [(Kind.MISSING_IN_SILVER, ("order_id=1",))]
    date.silver[1]["_kafka_timestamp"] = 0
    date.quarantine.append({**date.quarantine[0], "kafka_timestamp": 2})
    result = date.compared(lake, orders, monkeypatch)
    kinds = [each.kind for each in result.problems]
    assert kinds == [Kind.MISSING_IN_SILVER, Kind.WRONG_VERSION, Kind.PHANTOM], "Bronze has nothing of that time"


def test_of_two_versions_at_one_place_the_later_record_is_expected(
    lake: Lake, orders: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    date = BrokenDate(0, 0)
    places = [{"_topic": TOPIC, "_partition": 0, "_offset": offset} for offset in range(30)]
    # Many, because what a missing order gives is right for half of them.
    versions = [
        {"order_id": place["_offset"], "updated_at": 0, **place, "_kafka_timestamp": (place["_offset"] + turn) % 2}
        for turn in range(2)
        for place in places
    ]
    latest = [row for row in versions if row["_kafka_timestamp"]]
    date.bronze, date.quarantine = versions, []
    date.silver = [{name: row[name] for name in SILVER.names} for row in latest]
    assert date.compared(lake, orders, monkeypatch).ok


def test_many_rows_at_one_place_are_not_linked_each_with_each() -> None:
    with database() as connection:
        connection.execute("set memory_limit = '64MB'; set max_temp_directory_size = '0B'")
        for table in ("bronze", "silver"):
            connection.execute(
                f"create table {table} as select i as k, 't' as _topic, 0 as _partition, 1 as _offset,"
                " 0 as _kafka_timestamp from range(5000) numbers(i)"
            )
        connection.execute(f"create table quarantine ({REFUSED})")
        assert agreeing_rows.set_aside(connection, ["k"]) == 5000
