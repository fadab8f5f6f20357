"""One order through every stage: Postgres, Kafka, Bronze, Silver, Gold and the commands on top."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from audit.trace import Trace, trace
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.postgres import Postgres
from maintenance.cold_bronze.dates import compact_cold_dates
from pdp.cli import app
from platform_core.errors import PermanentError
from platform_core.settings import settings
from platform_kafka.topics import dlq_name, kafka_client_config
from tests.rigs.fake_clock import FakeClock
from tests.rigs.lake.audit_lake import FIRST_DAY, AuditLake
from tests.rigs.lake.cold_rig import with_footer
from tests.rigs.settings_of import settings_of


class Platform:
    """A lake of two dates, a Postgres with users, and a dead letter."""

    def __init__(self, postgres: Postgres, kafka: Kafka, folder: Path) -> None:
        self.env = {**postgres.env(), **kafka.env(), "LAKE_URI": str(folder / "lake"), "STATE_DIR": str(folder)}
        self.settings = settings_of(self.env)
        self.made = AuditLake(self.settings, seed=3).make(orders=60)
        admin = AdminClient(kafka_client_config(self.settings, admin=True))
        missing = {dlq_name(self.made.domain), self.made.domain.topic.name} - set(admin.list_topics(timeout=30).topics)
        for created in admin.create_topics([NewTopic(name, 3, 1) for name in missing]).values() if missing else ():
            created.result()
        with psycopg2.connect(self.settings.postgres_dsn.get_secret_value()) as connection:
            connection.cursor().execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.cursor().execute("CREATE TABLE users (user_id bigint, email text)")
            connection.cursor().execute("CREATE TABLE orders (order_id bigint, created_at timestamptz)")
            order = self.made.silver_rows(FIRST_DAY)[0]
            connection.cursor().execute(
                "INSERT INTO orders VALUES (%s, %s)", (order["order_id"], f"{FIRST_DAY} 12:00Z")
            )
            connection.cursor().execute(
                "INSERT INTO users VALUES (7, 'ada@example.com'), (8, '\"ada.roe@home\"@example.com')"
            )

    def trace(self, subject: str, **arguments) -> Trace:
        made = self.made
        domain = arguments.pop("domain", "orders")
        [found] = trace(
            self.settings,
            made.catalog,
            made.lake,
            made.meta,
            subject,
            domain=domain,
            **arguments,
        )
        return found


@pytest.fixture(scope="module")
def platform(postgres: Postgres, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return Platform(postgres, kafka, tmp_path_factory.mktemp("trace"))


def rows(found: Trace, layer: str) -> list[dict]:
    [only] = [each for each in found.layers if each.layer == layer]
    return only.rows


def test_an_order_is_found_at_every_stage_by_its_key_and_by_its_offset(platform):
    made = platform.made
    for table, keys in made.domain.gold.tables.items():  # as a correction leaves it: a merge writes text otherwise
        gold_table = made.lake.delta(made.lake.gold(made.domain, table))
        same = " and ".join(f"t.{key} = s.{key}" for key in keys)
        merge = gold_table.merge(gold_table.to_pyarrow_table(), same, source_alias="s", target_alias="t")
        merge.when_matched_update_all().execute()
    silver = platform.made.silver_rows(FIRST_DAY)[0]
    versions = [r for r in platform.made.records[FIRST_DAY] if r.order_id == silver["order_id"]]
    copies = [r for r in platform.made.copies[FIRST_DAY] if r.order_id == silver["order_id"]]
    by_key = platform.trace(str(silver["order_id"]))
    bronze = rows(by_key, "bronze")
    assert sorted(r["_offset"] for r in bronze) == sorted(r.offset for r in [*versions, *copies])
    assert all(r["file"].startswith("part-") and r["date"] == FIRST_DAY for r in bronze)
    assert [r["_offset"] for r in rows(by_key, "silver")] == [silver["_offset"]]
    gold = {r["table"]: r for r in rows(by_key, "gold")}
    assert gold["orders"]["city"] == silver["city"]
    assert gold["orders_by_restaurant"]["restaurant_id"] == silver["restaurant_id"]
    assert rows(by_key, "partition")[0]["status"] == "DONE"
    [warehouse] = [each for each in by_key.layers if each.layer == "warehouse"]
    assert "SNOWFLAKE_PASSWORD" in warehouse.not_looked

    place = f"raw-orders:{silver['_partition']}:{silver['_offset']}"
    by_place = platform.trace(place)
    assert rows(by_place, "silver") == rows(by_key, "silver")
    assert rows(by_place, "source") == rows(by_key, "source") != []


def test_a_refused_version_is_in_the_quarantine_and_a_letter_in_the_dead_letters(platform):
    bad = next(record for record in platform.made.records[FIRST_DAY] if record.is_bad)
    [quarantined] = rows(platform.trace(f"raw-orders:{bad.partition}:{bad.offset}"), "quarantine")
    assert quarantined["rule"] == "known_status"
    good = platform.made.silver_rows(FIRST_DAY)[0]
    of_an_earlier_topic = {**quarantined, "partition": good["_partition"], "offset": good["_offset"]}
    platform.made.write_quarantine(FIRST_DAY, lambda rows: [*rows, of_an_earlier_topic])
    found = platform.trace(str(good["order_id"]))
    assert of_an_earlier_topic["offset"] not in [row["offset"] for row in rows(found, "quarantine")]
    platform.made.write_quarantine(FIRST_DAY)

    domain = platform.made.domain
    producer = Producer(kafka_client_config(platform.settings, admin=True))
    place = {"dlq.topic": domain.topic.name, "dlq.partition": "2", "dlq.offset": "7700"}
    headers = {**place, "dlq.error_class": "not_json"}
    value = b'{"contact": {"E-Mail": "ada@roe@example.com"}, "note": "of bob.roe@example.com", "total": NaN, broken'
    producer.produce(dlq_name(domain), value, "4711", headers=list(headers.items()))
    whole = b'{"contact": {"E-Mail": "ada@roe@example.com"}, "note": "of bob.roe@example.com"}'
    producer.produce(dlq_name(domain), whole, "4711", headers=list(headers.items()))
    assert producer.flush(30) == 0
    for subject in ("4711", f"{domain.topic.name}:2:7700"):
        found = platform.trace(subject)
        broken, whole_one = rows(found, "dead letters")
        assert broken["dlq.error_class"] == whole_one["dlq.error_class"] == "not_json"
        assert "bob.roe" not in broken["value"] and "bob.roe" not in whole_one["value"]
        assert '"E-Mail": "a***@example.com"' in whole_one["value"]
        assert rows(found, "bronze") == []


def test_a_file_that_is_not_the_sinks_hides_no_record(platform):
    made, silver = platform.made, platform.made.silver_rows(FIRST_DAY)[0]
    foreign = Path(made.lake.path(made.lake.bronze_partition(made.domain, FIRST_DAY))) / "foreign.parquet"
    foreign.write_bytes(b"PAR1 nonsense PAR1")
    try:
        found = platform.trace(str(silver["order_id"]))
    finally:
        foreign.unlink()
    [bronze] = [each for each in found.layers if each.layer == "bronze"]
    assert silver["_offset"] in [row["_offset"] for row in bronze.rows]
    assert "foreign.parquet" in bronze.not_looked


def test_a_date_whose_compaction_note_cannot_be_read_hides_no_record_of_another(platform):
    made = platform.made
    record = made.records[FIRST_DAY + timedelta(days=1)][0]
    folder = Path(made.lake.path(made.lake.bronze_partition(made.domain, FIRST_DAY)))
    note = folder / made.lake.compaction_note
    note.write_text("{")
    try:
        found = platform.trace(f"raw-orders:{record.partition}:{record.offset}")
    finally:
        note.unlink()
    [bronze] = [each for each in found.layers if each.layer == "bronze"]
    assert record.offset in [row["_offset"] for row in bronze.rows]
    assert str(note) in bronze.not_looked


def test_an_address_is_masked_and_what_is_nowhere_says_where_it_was_looked_for(platform):
    found = platform.trace("7", domain="users")
    assert rows(found, "source") == [{"user_id": 7, "email": "a***@example.com"}]
    assert rows(platform.trace("8", domain="users"), "source") == [{"user_id": 8, "email": '"***@example.com'}]
    nowhere = platform.trace("424242")
    assert not nowhere.is_found
    assert "bronze/orders" in next(each.looked_in for each in nowhere.layers if each.layer == "bronze")
    with pytest.raises(PermanentError, match="TOPIC:PARTITION:OFFSET"):
        platform.trace("raw-nothing:0:1")
    for beyond in ("raw-orders:0:99999999999999999999", "raw-orders:2147483648:1"):
        with pytest.raises(PermanentError, match="no offset of Kafka"):
            platform.trace(beyond)


def test_the_commands_print_tables_and_documents_and_end_with_their_codes(platform, monkeypatch):
    for name, value in platform.env.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("SNOWFLAKE_HOST", "127.0.0.1")
    monkeypatch.setenv("SNOWFLAKE_PORT", "1")
    settings.cache_clear()

    def pdp(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    try:
        audit = ("audit", "--domain", "orders", "--stage", "silver", "--stage", "gold")
        done = pdp(*audit, "--json")
        assert (done.exit_code, json.loads(done.stdout)["clean"]) == (0, True), done.output
        platform.made.write_silver(FIRST_DAY, lambda rows: rows[1:])
        done = pdp(*audit, "--date", FIRST_DAY.isoformat())
        assert done.exit_code == 1
        assert "missing_in_silver" in done.stdout
        assert f"pdp partitions reset orders {FIRST_DAY}" in done.stdout
        platform.made.write_silver(FIRST_DAY)
        assert pdp("audit", "--stage", "nonsense").exit_code == 2
        assert f"2 dates from {FIRST_DAY}" in "".join(pdp(*audit).stdout.splitlines())
        nothing = pdp(*audit, "--date", "2020-01-01")
        assert (nothing.exit_code, "looked at: nothing" in nothing.stdout) == (2, True), nothing.output
        twice = pdp(*audit, "--date", "2020-01-01", "--date", FIRST_DAY.isoformat())
        assert (twice.exit_code, "give it once" in twice.output) == (2, True), twice.output

        order = str(platform.made.silver_rows(FIRST_DAY)[0]["order_id"])
        done = pdp("trace", order, "--domain", "orders")
        assert (done.exit_code, "DONE" in done.stdout) == (0, True), done.output
        assert pdp("trace", "424242", "--domain", "orders").exit_code == 1
    finally:
        settings.cache_clear()


def test_a_record_of_a_cold_date_is_in_the_file_that_counts_alone(platform):
    made, day, clock = platform.made, FIRST_DAY + timedelta(days=2), FakeClock(datetime.now(UTC))
    made.history(day, 20)
    files = made.write_bronze(day, made.records[day], 10)
    for name in files:
        with_footer(made.lake, made.domain, name)
    made.done(day, files)
    cold = made.domain.model_copy(update={"bronze": made.domain.bronze.model_copy(update={"compact_after_days": 1})})
    record = made.records[day][7]
    for replaced_are_there in (True, False):
        clock.advance(hours=2)
        compact_cold_dates(made.lake, cold, made.meta, clock)
        assert (len(made.lake.list_folder(made.domain, day)[0]) > len(files)) is replaced_are_there
        found = platform.trace(f"raw-orders:{record.partition}:{record.offset}")
        [row] = rows(found, "bronze")
        assert row["file"].startswith("compacted-") and (row["date"], row["order_id"]) == (day, record.order_id)
        by_key = rows(platform.trace(str(record.order_id)), "bronze")
        versions = [each.offset for each in made.records[day] if each.order_id == record.order_id]
        assert sorted(each["_offset"] for each in by_key) == sorted(versions)
