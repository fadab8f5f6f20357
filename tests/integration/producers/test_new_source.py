"""A table that no framework file has heard of: a domain of YAML and a package, and its real producer sends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from platform_core.domain.catalog import load_catalog
from producers.watermark import describe

CONTRACT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "shift_id": {"type": "integer"},
        "courier": {"type": "string"},
        "earned": {"type": "string", "x-type": "decimal(10,2)"},
        "stops": {"type": "array"},
        "started_at": {"type": "string", "format": "date-time"},
        "changed_at": {"type": "string", "format": "date-time"},
        "read_at": {"type": "string", "format": "date-time"},
        "ended_at": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["shift_id", "courier", "earned", "stops", "started_at", "changed_at", "read_at"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
ENTRY = {
    "description": "Courier shifts",
    "owner": "team:logistics",
    "start_date": "2025-01-01",
    "bronze": {"partition_key": "shift_date", "timestamp_col": "started_at"},
    "silver": {"primary_key": ["shift_id"], "order_by": ["changed_at"]},
    "gold": {"tables": {"shifts": ["shift_date", "courier"]}},
}
# `%` is the driver's own sign, and a name with a schema is two names.
TABLE = {
    "table": "fleet.shifts",
    "key": "shift_id",
    "deleted_at": "ended_at",
    "columns": {"stops": "array(select s from generate_series(1, shift_id % 3) s)"},
}
POLLED = {**TABLE, "version": "changed_at", "tombstones": "fleet.ended_shifts"}
COLUMNS = (
    "shift_id bigint PRIMARY KEY, courier text NOT NULL, earned numeric(10,2) NOT NULL,"
    " started_at timestamptz NOT NULL, changed_at timestamptz NOT NULL, ended_at timestamptz"
)
SCHEMA = f"""
CREATE SCHEMA fleet;
CREATE TABLE fleet.shifts ({COLUMNS});
CREATE TABLE fleet.ended_shifts ({COLUMNS}, stops int[] NOT NULL);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_current_xact_id(); NEW.changed_at := clock_timestamp(); RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON fleet.shifts FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO fleet.shifts SELECT n, 'c' || n, n * 10.10, '2026-03-01 08:00Z' FROM generate_series(1, 3) n;
"""


@pytest.fixture
def with_shifts(producers_rig: Any, tmp_path: Path) -> Any:
    """Returns a function that adds the domain, given its source, and runs `provision`."""

    def add(source: dict[str, Any]) -> Any:
        package = tmp_path / f"shifts_{source['kind']}"
        package.mkdir()
        (package / "__init__.py").touch()
        properties = {**CONTRACT["properties"]}  # type: ignore[dict-item]
        required = [name for name in CONTRACT["required"] if name != "read_at" or "stamp" in source]
        if "stamp" not in source:
            del properties["read_at"]
        contract = {**CONTRACT, "properties": properties, "required": required}
        (package / "contract.json").write_text(json.dumps(contract))
        file = Path(producers_rig.env["DOMAINS_FILE"])
        document = yaml.safe_load(file.read_text())
        suffix = producers_rig.catalog["orders"].topic.name.removeprefix("raw-orders")
        topic = {"key": "shift_id", "name": f"raw-shifts{suffix}"}
        document["domains"]["shifts"] = {**ENTRY, "plugin": package.name, "topic": topic, "source": source}
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        producers_rig.catalog = load_catalog(file)
        producers_rig.run("provision")
        with producers_rig.connect().cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS fleet CASCADE; " + SCHEMA)
        return producers_rig

    return add


def run(rig: Any, statement: str) -> None:
    with rig.connect().cursor() as cursor:
        cursor.execute(statement)


def produced(rig: Any, *arguments: str) -> int:
    count: int = rig.run("shifts", "--once", *arguments)["domains"]["shifts"]["produced"]
    return count


def test_change_capture_of_a_new_table_is_yaml(with_shifts: Any) -> None:
    rig = with_shifts({"kind": "postgres_cdc", **POLLED})
    assert produced(rig) == 3
    assert produced(rig) == 0
    run(
        rig,
        "UPDATE fleet.shifts SET earned = 0.05 WHERE shift_id = 2;"
        " INSERT INTO fleet.ended_shifts SELECT shift_id, courier, earned, started_at, clock_timestamp(),"
        " clock_timestamp(), ARRAY[9] FROM fleet.shifts WHERE shift_id = 3;"
        " DELETE FROM fleet.shifts WHERE shift_id = 3",
    )
    assert produced(rig) == 2
    records = sorted(rig.records("shifts"), key=lambda record: (record["shift_id"], record["changed_at"]))
    assert [(r["shift_id"], r["earned"], r["stops"], bool(r["ended_at"])) for r in records] == [
        (1, "10.10", [1], False),
        (2, "20.20", [1, 2], False),
        (2, "0.05", [1, 2], False),
        (3, "30.30", [], False),
        (3, "30.30", [9], True),
    ]
    assert records[0]["started_at"] == "2026-03-01T08:00:00.000000Z"
    assert "shifts" in [state.source for state in describe(rig.settings.state_dir, rig.catalog)]


def test_an_increment_of_a_new_table_is_yaml(with_shifts: Any) -> None:
    rig = with_shifts({"kind": "postgres_increment", **POLLED, "stamp": "read_at", "at": "04:30"})
    assert (produced(rig), produced(rig)) == (3, 0)
    run(rig, "UPDATE fleet.shifts SET courier = 'x' WHERE shift_id = 1")
    assert produced(rig) == 1
    assert all(record["read_at"] > record["changed_at"] for record in rig.records("shifts"))


def test_snapshots_of_a_new_table_are_yaml_and_one_that_lost_too_much_is_refused(with_shifts: Any) -> None:
    rig = with_shifts({"kind": "postgres_snapshot", **TABLE, "stamp": "read_at"})
    assert produced(rig) == 3
    run(rig, "DELETE FROM fleet.shifts WHERE shift_id = 3")
    assert produced(rig) == 3
    assert [r["shift_id"] for r in rig.records("shifts") if r["ended_at"] == r["read_at"]] == [3]
    run(rig, "DELETE FROM fleet.shifts")
    process = rig.command("shifts", "--once")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The snapshot has 0 shifts, the last one had 2." in err and "producers shifts --once --accept-loss" in err
    assert produced(rig, "--accept-loss") == 2
